# SPDX-License-Identifier: Apache-2.0
# libpillion for its users: a shared library that exports only pillion_* (client/pillion.map), a static library whose
# other symbols are local, and the files that find_package, pkg-config and man look for. It does not link an allocator:
# the process has its own.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(client_dir ${CMAKE_CURRENT_LIST_DIR})
set(client_parts pil_vector pil_cache pil_wire pil_snapshot pil_schema pil_base)
set(client_version ${PROJECT_VERSION})

add_library(pillion_shared SHARED $<TARGET_OBJECTS:pil_client>)
set_target_properties(pillion_shared PROPERTIES OUTPUT_NAME pillion VERSION ${client_version} SOVERSION 0
  LINKER_LANGUAGE C LINK_DEPENDS ${client_dir}/pillion.map LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
target_link_libraries(pillion_shared PRIVATE ${client_parts})
target_link_options(pillion_shared PRIVATE
  -Wl,--version-script=${client_dir}/pillion.map -Wl,--exclude-libs,ALL -Wl,--as-needed -Wl,--no-undefined-version)
target_include_directories(pillion_shared INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
add_library(Pillion::pillion ALIAS pillion_shared)
if(PIL_SANITIZE)
  target_link_options(pillion_shared INTERFACE -fsanitize=${PIL_SANITIZE}) # clang links the runtime into programs only
endif()
set_target_properties(pillion_shared PROPERTIES EXPORT_NAME pillion)

# One relocatable object with everything; hidden symbols become local, so that they cannot collide with the program's.
set(static_library ${CMAKE_BINARY_DIR}/lib/libpillion.a)
set(static_archives "")
foreach(part ${client_parts})
  list(APPEND static_archives $<TARGET_FILE:${part}>)
endforeach()
add_custom_command(OUTPUT ${static_library}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/lib
  COMMAND ${CMAKE_LINKER} -r -o ${CMAKE_BINARY_DIR}/lib/pillion.o $<TARGET_OBJECTS:pil_client>
          --start-group ${static_archives} --end-group
  COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${CMAKE_BINARY_DIR}/lib/pillion.o
  COMMAND ${CMAKE_COMMAND} -E rm -f ${static_library}
  COMMAND ${CMAKE_AR} rcs ${static_library} ${CMAKE_BINARY_DIR}/lib/pillion.o
  DEPENDS pil_client ${client_parts} COMMAND_EXPAND_LISTS VERBATIM)
add_custom_target(pillion_static ALL DEPENDS ${static_library})

configure_file(${client_dir}/pillion.pc.in ${CMAKE_BINARY_DIR}/lib/pkgconfig/pillion.pc @ONLY)
configure_package_config_file(${client_dir}/PillionConfig.cmake.in ${CMAKE_BINARY_DIR}/lib/cmake/PillionConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Pillion)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/lib/cmake/PillionConfigVersion.cmake
  VERSION ${client_version} COMPATIBILITY SameMinorVersion)

install(TARGETS pillion_shared EXPORT PillionTargets COMPONENT libpillion)
install(EXPORT PillionTargets NAMESPACE Pillion:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Pillion
  COMPONENT libpillion)
install(FILES ${CMAKE_BINARY_DIR}/lib/cmake/PillionConfig.cmake ${CMAKE_BINARY_DIR}/lib/cmake/PillionConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Pillion COMPONENT libpillion)
install(FILES ${static_library} DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT libpillion)
install(FILES ${CMAKE_BINARY_DIR}/lib/pkgconfig/pillion.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
  COMPONENT libpillion)
install(FILES ${CMAKE_SOURCE_DIR}/include/pillion/client.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/pillion
  COMPONENT libpillion)
install(FILES ${CMAKE_SOURCE_DIR}/docs/man/libpillion.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT libpillion)
