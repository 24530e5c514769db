# cmake -DROOT=FOLDER -DOUT=FILE -P commit.cmake: writes app::build_commit(), the commit of ROOT's repository, when it
# has changed.
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND git -C ${ROOT} rev-parse --short=12 HEAD OUTPUT_VARIABLE commit RESULT_VARIABLE failed
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(failed)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#include \"app/build_info.h\"

namespace millrace::app {

std::string_view build_commit() { return \"${commit}\"; }

}  // namespace millrace::app
")
