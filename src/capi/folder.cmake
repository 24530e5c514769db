# libmillrace.so: the C interface and nothing else is visible.
target_include_directories(${FOLDER_TARGET} PUBLIC ${CMAKE_SOURCE_DIR}/include)
add_library(millrace_shared SHARED ${CMAKE_SOURCE_DIR}/src/grammar/charged_new.cc)
target_link_libraries(millrace_shared PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,${FOLDER_TARGET}>)
target_link_options(millrace_shared PRIVATE -Wl,--version-script=${dir}/exports.map)
set_target_properties(millrace_shared PROPERTIES OUTPUT_NAME millrace LINK_DEPENDS ${dir}/exports.map)
