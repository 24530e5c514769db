find_package(CLI11 REQUIRED)
target_link_libraries(${FOLDER_TARGET} PRIVATE CLI11::CLI11)
set_source_files_properties(${dir}/build_info.cc PROPERTIES COMPILE_DEFINITIONS
  "MILLRACE_VERSION=\"${PROJECT_VERSION}\";MILLRACE_BUILD_TYPE=\"${CMAKE_BUILD_TYPE}\";MILLRACE_COMPILER=\"${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}\"")
# Which commit this is: looked up with every build, so a stale one is never told.
set(commit_source ${CMAKE_BINARY_DIR}/generated/build_commit.cc)
add_custom_target(millrace_commit BYPRODUCTS ${commit_source} COMMENT ""
  COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_SOURCE_DIR} -DOUT=${commit_source} -P ${CMAKE_SOURCE_DIR}/cmake/commit.cmake)
target_sources(${FOLDER_TARGET} PRIVATE ${commit_source})
add_dependencies(${FOLDER_TARGET} millrace_commit)
