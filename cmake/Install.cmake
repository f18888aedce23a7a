# What `cmake --install` lays down besides the command and the libraries (CMakeLists.txt): headers, pkg-config file, man page, completions.
# Headers keep their folders, so that #include <memplan/planner/memplan.h> finds the doors it stands on.
foreach(header onnx/base.h onnx/onnx.h devices/devices.h planner/memplan.h)
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES ${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/memplan/${folder})
endforeach()

file(RELATIVE_PATH PC_TO_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix) # the installed tree may be moved
configure_file(share/memplan.pc.in memplan.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/memplan.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(VERSION ${PROJECT_VERSION})
configure_file(share/memplan.1 memplan.1 @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/memplan.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES share/completions/memplan.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME memplan)
install(FILES share/completions/_memplan DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)

set(sanitized "")
if(MEMPLAN_SANITIZE)
  set(sanitized "-fsanitize=address,undefined")
endif()
add_test(NAME installed COMMAND ${CMAKE_SOURCE_DIR}/tests/installed.sh ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER} ${sanitized})
set_tests_properties(installed PROPERTIES TIMEOUT 300 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
