include(${CMAKE_SOURCE_DIR}/cmake/xgrammar.cmake)
target_link_libraries(${FOLDER_TARGET} PRIVATE xgrammar)
# the core calls compile_budget.h and token_walk.h
target_link_libraries(xgrammar INTERFACE $<LINK_ONLY:${FOLDER_TARGET}>)
# tests/support/schema_validator.h matches patterns with another engine than this folder's
set_source_files_properties(${dir}/property_test.cc PROPERTIES COMPILE_DEFINITIONS PCRE2_CODE_UNIT_WIDTH=8)
