# SPDX-License-Identifier: Apache-2.0
"""`pillion init`: a project file and a configuration for files that are there.

cli      arguments, questions, messages, exit codes
survey   reads the files as `pillion build` will, to the end
guess    the type of a column: what holds all of its values
choose   which columns are the time and the key; names that are legal
write    the two files and the commands that come next
"""
import pillion.build  # noqa: F401  pylint: disable=unused-import; says which libraries are missing
