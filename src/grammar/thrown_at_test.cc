#include "grammar/thrown_at.h"

#include <gtest/gtest.h>

namespace millrace::grammar {
namespace {

TEST(ThrownAt, NamesThePlaceAndNothingElse) {
  EXPECT_EQ(thrown_at("[12:01:02] /src/xgrammar/cpp/grammar_parser.cc:820: EBNF parser error: secret\n"),
            "grammar_parser.cc:820");
  EXPECT_EQ(thrown_at("[12:01:02] fsm.cc:7: a.cc:9: secret\n"), "fsm.cc:7");
  for (const char* other :
       {"", "[", "vector::_M_range_check: secret", "[12:01:02] secret", "[12:01:02] secret:x: y",
        "[12:01:02] secret:12: y", "[12:01:02] /a/secret.cc:: y", "[12:01:02 /a/secret.cc:12: y", "secret.cc:12: y"}) {
    EXPECT_EQ(thrown_at(other), "an exception") << other;
  }
}

}  // namespace
}  // namespace millrace::grammar
