// What schemas match, and references between the schemas of one document: by URI, anchor and dynamic anchor.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "grammar/compiler.h"
#include "grammar/schema_resources.h"

namespace millrace::grammar {
namespace {

using flow::ConstraintKind;

constexpr TokenId kEnd = 0;

Compiler& compiler() {
  static Compiler one(
      [] {
        Vocabulary out;
        out.tokens = {""};
        out.end_tokens = {kEnd};
        for (int byte = 0; byte < 128; ++byte) out.tokens.emplace_back(1, static_cast<char>(byte));
        return out;
      }(),
      Limits(), 1);
  return one;
}

std::string refusal(const std::string& schema) {
  auto read = read_constraint({.kind = ConstraintKind::kJsonSchema, .text = schema}, Limits());
  return read.ok() ? "accepted" : read.error().message;
}

// Whether the whole text is what the schema allows.
bool allows(const std::string& schema, std::string_view text) {
  auto compiled = compiler().compile({.kind = ConstraintKind::kJsonSchema, .text = schema});
  EXPECT_TRUE(compiled.ok()) << schema << ": " << (compiled.ok() ? "" : compiled.error().message);
  if (!compiled.ok()) return false;
  auto matcher = (*compiled)->matcher();
  for (char c : text) {
    if (!matcher->accept(static_cast<TokenId>(1 + c))) return false;
  }
  return matcher->accept(kEnd);
}

TEST(Schema, MatchesItsTexts) {
  struct Row {
    const char* schema;
    std::vector<std::string> yes;
    std::vector<std::string> no;
  };
  for (const Row& row :
       {Row{R"({"multipleOf":1.5})", {"3", "-6", "0"}, {"1", "1.5", "4"}},
        Row{R"({"multipleOf":0.75,"minimum":2,"maximum":7})", {"3", "6"}, {"2", "9"}},
        // a value that has a shape without being generated for it counts
        Row{R"({"oneOf":[{"enum":[4.5,1]},{"type":"number","multipleOf":1.5}]})", {"3"}, {"4.5"}},
        Row{R"({"enum":[0.5,0.25],"multipleOf":0.5})", {"0.5"}, {"0.25"}},
        // items that fail
        Row{R"({"type":"array","maxItems":2,"not":{"prefixItems":[true,{"const":1}]}})", {"[1,2]"}, {"[1,1]", "[1]"}},
        Row{R"({"type":"array","maxItems":2,"not":{"prefixItems":[true],"items":{"const":1}}})",
            {"[1,2]"},
            {"[1,1]", "[2]"}},
        Row{R"({"type":"array","not":{"items":[{"const":1}],"additionalItems":{"const":2}}})",
            {"[2]", "[1,1]"},
            {"[1]", "[1,2]"}},
        Row{R"({"anyOf":[{"type":"null"},{"not":{"items":{"const":1}}}],"unevaluatedItems":false})",
            {"null"},
            {"[2]", "[]"}},
        Row{R"({"type":"array","prefixItems":[{"enum":[1,2]}],"unevaluatedItems":false,)"
            R"("if":{"prefixItems":[{"const":1}]},"then":{"prefixItems":[true,{"const":"a"}]}})",
            {"[1]", "[1,\"a\"]", "[2]"},
            {"[1,\"b\"]", "[2,\"a\"]"}},
        // unevaluated parts of what a reference leads to
        Row{R"({"$ref":"#/$defs/a","$defs":{"a":{"type":"object","allOf":[{"properties":{"x":{"const":1}}}],)"
            R"("properties":{"y":{"const":2}},"unevaluatedProperties":false}}})",
            {R"({"x":1})", R"({"y":2})", "{}"},
            {R"({"z":1})"}},
        // unique items
        Row{R"({"type":"array","prefixItems":[{"type":"boolean"},{"type":"boolean"}],"uniqueItems":true})",
            {"[]", "[true]"},
            {"[true,true]"}},
        Row{R"({"type":"array","prefixItems":[{"type":"boolean"},{"const":1}],"minItems":2,"uniqueItems":true})",
            {"[true,1]"},
            {"[true]", "[true,true]", "[true,1,1]"}}}) {
    for (const std::string& text : row.yes) EXPECT_TRUE(allows(row.schema, text)) << row.schema << " " << text;
    for (const std::string& text : row.no) EXPECT_FALSE(allows(row.schema, text)) << row.schema << " " << text;
  }
}

// The examples of RFC 3986, 5.4.
TEST(ResolveUri, AsTheStandardShows) {
  struct Row {
    const char* reference;
    const char* want;
  };
  for (const Row& row : {Row{"g:h", "g:h"},
                         {"g", "http://a/b/c/g"},
                         {"./g", "http://a/b/c/g"},
                         {"g/", "http://a/b/c/g/"},
                         {"/g", "http://a/g"},
                         {"//g", "http://g"},
                         {"?y", "http://a/b/c/d;p?y"},
                         {"g?y", "http://a/b/c/g?y"},
                         {"#s", "http://a/b/c/d;p?q#s"},
                         {"g#s", "http://a/b/c/g#s"},
                         {"g?y#s", "http://a/b/c/g?y#s"},
                         {";x", "http://a/b/c/;x"},
                         {"g;x", "http://a/b/c/g;x"},
                         {"", "http://a/b/c/d;p?q"},
                         {".", "http://a/b/c/"},
                         {"./", "http://a/b/c/"},
                         {"..", "http://a/b/"},
                         {"../", "http://a/b/"},
                         {"../g", "http://a/b/g"},
                         {"../..", "http://a/"},
                         {"../../g", "http://a/g"},
                         {"../../../../g", "http://a/g"},
                         {"/./g", "http://a/g"},
                         {"/../g", "http://a/g"},
                         {"g.", "http://a/b/c/g."},
                         {"..g", "http://a/b/c/..g"},
                         {"./../g", "http://a/b/g"},
                         {"./g/.", "http://a/b/c/g/"},
                         {"g/./h", "http://a/b/c/g/h"},
                         {"g/../h", "http://a/b/c/h"},
                         {"g;x=1/../y", "http://a/b/c/y"},
                         {"g?y/../x", "http://a/b/c/g?y/../x"},
                         {"g#s/../x", "http://a/b/c/g#s/../x"}}) {
    EXPECT_EQ(resolve_uri("http://a/b/c/d;p?q", row.reference), row.want) << row.reference;
  }
  EXPECT_EQ(resolve_uri("http://a", "g"), "http://a/g");
  EXPECT_EQ(resolve_uri("urn:uuid:1-2", "#x"), "urn:uuid:1-2#x");
  EXPECT_EQ(resolve_uri("", "./g"), "g");
  EXPECT_EQ(resolve_uri("list", "item"), "item");
}

TEST(SchemaResources, ReferencesLeadToTheirResource) {
  struct Row {
    const char* schema;
    const char* valid;
    const char* invalid;
  };
  for (
      const Row& row :
      {Row{R"({"$ref":"item","$defs":{"a":{"$id":"item","type":"integer"}}})", "7", "true"},
       Row{R"({"$id":"http://x/root.json","$ref":"sub/a.json","$defs":{"a":{"$id":"http://x/sub/a.json",)"
           R"("$ref":"#/$defs/b","$defs":{"b":{"const":1}}},"b":{"const":2}}})",
           "1", "2"},
       Row{R"({"$id":"http://x/root.json","$ref":"http://x/sub/","$defs":{"a":{"$id":"sub/","$ref":"b.json"},)"
           R"("b":{"$id":"sub/b.json","const":1},"c":{"$id":"b.json","const":2}}})",
           "1", "2"},
       // the same anchor in two resources
       Row{R"({"$ref":"child#x","$defs":{"a":{"$id":"child","$defs":{"b":{"$anchor":"x","const":1}}},)"
           R"("c":{"$anchor":"x","const":2}}})",
           "1", "2"},
       Row{R"({"$ref":"#x","$defs":{"a":{"$id":"child","$defs":{"b":{"$anchor":"x","const":1}}},)"
           R"("c":{"$anchor":"x","const":2}}})",
           "2", "1"},
       // beside one another $id comes first
       Row{R"({"$id":"http://x/","$defs":{"a":{"$id":"/one/","$ref":"int.json"},"b":{"$id":"one/int.json","const":1},)"
           R"("c":{"$id":"/int.json","const":2}},"$ref":"one/"})",
           "1", "2"},
       Row{R"({"$id":"urn:uuid:1-2-3","$ref":"urn:uuid:1-2-3#/$defs/a","$defs":{"a":{"const":1}}})", "1", "2"},
       // what only looks like an $id
       Row{R"({"anyOf":[{"$ref":"item"},{"const":{"$id":"item","type":"null"}}],"$defs":{"a":{"$id":"item","const":1},)"
           R"("b":{"x-other":{"$id":"item","type":"null"}}}})",
           "1", "null"},
       Row{R"({"properties":{"$id":{"const":1},"a":{"$ref":"#/properties/$id"}},"required":["a"]})", R"({"a":1})",
           R"({"a":2})"},
       // two that are the same
       Row{R"({"$ref":"item","$defs":{"a":{"$id":"item","const":1},"b":{"$id":"item","const":1}}})", "1", "2"},
       Row{R"({"items":{"$ref":"tree"},"type":"array","maxItems":1,"$defs":{"a":{"$id":"tree","type":"array",)"
           R"("items":{"anyOf":[{"$ref":"#"},{"const":1}]}}}})",
           "[[[1]]]", "[1]"}}) {
    EXPECT_TRUE(allows(row.schema, row.valid)) << row.schema;
    EXPECT_FALSE(allows(row.schema, row.invalid)) << row.schema;
  }
}

// The dynamic scope: the resources on the way there, of which the outermost says what an anchor means.
TEST(SchemaResources, DynamicReferencesLeadToTheOutermost) {
  const std::string list = R"("list":{"$id":"list","type":"array","items":{"$dynamicRef":"#item"},)"
                           R"("$defs":{"any":{"$dynamicAnchor":"item"}}})";
  struct Row {
    std::string schema;
    const char* valid;
    const char* invalid;
  };
  std::string choice = R"({"properties":{"n":{"$ref":"numbers"},"s":{"$ref":"strings"},"any":{"$ref":"list"}},)"
                       R"("minProperties":1,"type":"object","$defs":{"numbers":{"$id":"numbers","$ref":"list",)"
                       R"("$defs":{"i":{"$dynamicAnchor":"item","type":"integer"}}},"strings":{"$id":"strings",)"
                       R"("$ref":"list","$defs":{"i":{"$dynamicAnchor":"item","type":"string"}}},)" +
                       list + "}}";
  for (
      const Row& row :
      {Row{R"({"$id":"http://x/root","$ref":"list","$defs":{"i":{"$dynamicAnchor":"item","type":"integer"},)" + list +
               "}}",
           "[1]", "[true]"},
       // no anchor of that name outside: any; an $anchor is none
       Row{R"({"$id":"http://x/root","$ref":"list","$defs":{"i":{"$anchor":"item","type":"integer"},)" + list + "}}",
           "[true]", "true"},
       // by both ways in one document
       Row{choice, R"({"n":[1]})", R"({"n":["a"]})"}, Row{choice, R"({"s":["a"]})", R"({"s":[1]})"},
       Row{choice, R"({"n":[1],"s":["a"],"any":[1,"a"]})", R"({"n":[1],"s":[1]})"},
       // a resource that says something new besides
       Row{R"({"$id":"http://x/root","$ref":"inner","$defs":{"i":{"$dynamicAnchor":"a","const":1},"inner":{"$id":)"
           R"("inner","$dynamicRef":"#a","$defs":{"a":{"$dynamicAnchor":"a","const":2},"b":{"$dynamicAnchor":"b"}}}}})",
           "1", "2"},
       // $ref does not care
       Row{R"({"$ref":"list","$defs":{"i":{"$dynamicAnchor":"item","type":"integer"},"l":{"$id":"list","type":)"
           R"("array","items":{"$ref":"#item"},"$defs":{"any":{"$dynamicAnchor":"item","type":"boolean"}}}}})",
           "[true]", "[1]"},
       // under "not"
       Row{R"({"type":"array","minItems":1,"maxItems":1,"items":{"type":["integer","boolean"]},"not":{"$ref":"list"},)"
           R"("$defs":{"i":{"$dynamicAnchor":"item","type":"integer"},)" +
               list + "}}",
           "[true]", "[1]"},
       // draft 2019-09
       Row{R"({"$recursiveAnchor":true,"anyOf":[{"$ref":"inner"},{"const":1}],"$defs":{"a":{"$id":"inner",)"
           R"("$recursiveAnchor":true,"type":"array","items":{"$recursiveRef":"#"}}}})",
           "[[1]]", "[true]"},
       Row{R"({"anyOf":[{"$ref":"inner"},{"const":1}],"$defs":{"a":{"$id":"inner","type":"array",)"
           R"("items":{"$recursiveRef":"#"}}}})",
           "[[]]", "[[1]]"}}) {
    EXPECT_TRUE(allows(row.schema, row.valid)) << row.schema << " " << row.valid;
    EXPECT_FALSE(allows(row.schema, row.invalid)) << row.schema << " " << row.invalid;
  }
}

TEST(SchemaResources, RefusalsNameTheReference) {
  struct Row {
    std::string schema;
    const char* want;
  };
  for (const Row& row :
       {Row{R"({"$ref":"other","$defs":{"a":{"$id":"item"}}})", "#/$ref: remote $ref \"other\" not allowed"},
        Row{R"({"$ref":"item#y","$defs":{"a":{"$id":"item","$anchor":"x"}}})", "#/$ref: $ref \"item#y\" not found"},
        Row{R"({"$ref":"item#/$defs/y","$defs":{"a":{"$id":"item"},"y":true}})",
            "#/$ref: $ref \"item#/$defs/y\" not found"},
        Row{R"({"$ref":"item","$defs":{"a":{"$id":"item","const":1},"b":{"$id":"item","const":2}}})",
            "#/$ref: $ref \"item\": two schemas have this $id"},
        Row{R"({"$ref":"item","$defs":{"a":{"$id":"item","allOf":[{"$ref":"#"}]}}})",
            "item#: a schema that is defined by itself, for the same value"},
        Row{R"({"$ref":"item","$defs":{"a":{"$id":"item","properties":{"x":{"type":"nothing"}}}}})",
            "item#/properties/x/type: must be null, boolean, integer, number, string, array, object, or a list of "
            "them"},
        Row{R"({"const":{"$id":"item"},"$ref":"item"})", "#/$ref: remote $ref \"item\" not allowed"}}) {
    EXPECT_EQ(refusal(row.schema), row.want) << row.schema;
  }
  // each resource says something new of each other: the scopes multiply
  std::string defs;
  for (int i = 0; i < 12; ++i) {
    std::string id = "r" + std::to_string(i);
    defs += (i == 0 ? "\"" : ",\"") + id + R"(":{"$id":")" + id + R"(","$dynamicAnchor":")" + id +
            R"(","items":{"anyOf":[)";
    for (int k = 0; k < 12; ++k) {
      std::string other = "r" + std::to_string(k);
      defs += std::string(k == 0 ? "" : ",") + R"({"$ref":")" + other + "\"}";
    }
    defs += "]}}";
  }
  std::string message = refusal(R"({"$ref":"r0","$defs":{)" + defs + "}}");
  EXPECT_NE(message.find("$dynamicRef: more than 64 dynamic scopes are not supported"), std::string::npos) << message;
}

}  // namespace
}  // namespace millrace::grammar
