# tests/support/schema_validator.h matches patterns with an engine of its own
set_source_files_properties(${dir}/schema_test.cc PROPERTIES COMPILE_DEFINITIONS PCRE2_CODE_UNIT_WIDTH=8)
