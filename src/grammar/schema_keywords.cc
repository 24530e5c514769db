#include "grammar/schema_keywords.h"

#include <algorithm>

namespace millrace::grammar {
namespace {

using enum KeywordUse;

constexpr Keyword kKeywords[] = {
    {"$ref", kSupported, "inside the same document, also by $id and anchors"},
    {"$defs"},
    {"definitions"},
    {"type"},
    {"enum"},
    {"const"},
    {"allOf"},
    {"anyOf"},
    {"oneOf", kPartly, "branches that overlap: where the opposite of the others can be generated"},
    {"not", kPartly, "of the keywords in kCanFail (schema_negate.cc), properties and combinations of them"},
    {"properties"},
    {"required"},
    {"additionalProperties", kSupported, "absent beside `properties`: none are generated"},
    {"unevaluatedProperties", kPartly, "beside combinations: in the outermost of the schemas that hold for a value"},
    {"patternProperties", kSupported, "no additional properties beside them"},
    {"propertyNames"},
    {"minProperties", kPartly, "at most one of the counted properties is an additional one"},
    {"maxProperties"},
    {"dependentRequired"},
    {"prefixItems"},
    {"items"},
    {"additionalItems"},
    {"unevaluatedItems", kPartly, "as unevaluatedProperties"},
    {"minItems"},
    {"maxItems"},
    {"uniqueItems", kPartly,
     "items of a list of values, in its order; a prefix of different items; of others at most one item"},
    {"minLength"},
    {"maxLength"},
    {"pattern", kSupported, "beside minLength or maxLength: one repetition of variable length"},
    {"format", kSupported, "those in kFormats, beside lengths, not beside pattern; others are annotations"},
    {"minimum"},
    {"maximum"},
    {"exclusiveMinimum"},
    {"exclusiveMaximum"},
    {"multipleOf", kPartly, "whole numbers, halves and so on, parts of 1; whole multiples are generated"},
    {"contains", kSupported, "what must be there stands first, or behind prefixItems"},
    {"minContains"},
    {"maxContains"},
    {"if", kPartly, "as `not`, for the case that it does not hold"},
    {"then"},
    {"else"},
    {"dependentSchemas"},
    {"dependencies"},
    {"$dynamicRef", kSupported, "inside the same document"},
    {"$recursiveRef"},
    {"extends", kUnsupported},
    {"disallow", kUnsupported},
    {"divisibleBy", kUnsupported},
    {"$schema", kAnnotation},
    {"$id", kAnnotation},
    {"id", kAnnotation},
    {"$anchor", kAnnotation},
    {"$dynamicAnchor", kAnnotation},
    {"$comment", kAnnotation},
    {"$vocabulary", kAnnotation},
    {"title", kAnnotation},
    {"description", kAnnotation},
    {"default", kAnnotation},
    {"examples", kAnnotation},
    {"deprecated", kAnnotation},
    {"readOnly", kAnnotation},
    {"writeOnly", kAnnotation},
    {"contentEncoding", kAnnotation},
    {"contentMediaType", kAnnotation},
    {"contentSchema", kAnnotation},
};

// The patterns in the order of format_patterns(); behind the last one they are empty.
struct Format {
  std::string_view name;
  std::string_view patterns[3];
};

constexpr std::string_view kEmail =
    R"(^[a-zA-Z0-9_+-]+(\.[a-zA-Z0-9_+-]+)*@[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*(\.[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*)+$)";
constexpr std::string_view kBoundedEmail =
    R"(^[a-z0-9_+-]{1,12}(\.[a-z0-9_+-]{1,12})?@[a-z0-9]{1,12}(\.[a-z]{2,6}){1,2}$)";
constexpr std::string_view kAnyEmail = R"(^[a-z0-9]+@[a-z0-9]\.[a-z]{2}$)";
constexpr std::string_view kHost = R"(^[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*(\.[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*)*$)";
constexpr std::string_view kBoundedHost = R"(^[a-z0-9]{1,12}(-[a-z0-9]{1,12})?(\.[a-z0-9]{1,12}){0,2}$)";
constexpr std::string_view kAnyHost = "^[a-z0-9]+$";
constexpr std::string_view kUri = R"(^[a-zA-Z][a-zA-Z0-9+.-]*://[a-zA-Z0-9.-]+(:[0-9]{1,5})?(/[a-zA-Z0-9._~%-]*)*)"
                                  R"((\?[a-zA-Z0-9._~%=&-]*)?(#[a-zA-Z0-9._~%-]*)?$)";
constexpr std::string_view kBoundedUri =
    R"(^https?://[a-z0-9]{1,12}(\.[a-z0-9]{1,12}){1,2}(/[a-z0-9_-]{1,12}){0,3}(\?[a-z0-9=]{1,12})?$)";
constexpr std::string_view kAnyUri = R"(^https://[a-z0-9]+$)";
constexpr std::string_view kPointer = R"(^(/[a-zA-Z0-9_.-]*)*$)";

// RFC 3339 (date-time, date, time), RFC 4122 (uuid), RFC 5321 (email, a part of it), RFC 1123 (hostname), RFC 2673
// (ipv4), RFC 3986 (uri, a part of it), RFC 6901 (json-pointer), ISO 8601 as in RFC 3339 appendix A (duration). The
// internationalised ones, references and templates: what the plain one has, which is valid there, too.
constexpr Format kFormats[] = {
    {"date", {R"(^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$)"}},
    {"time", {R"(^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$)"}},
    {"date-time",
     {R"(^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])"
      R"((\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$)",
      R"(^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$)"}},
    {"uuid", {R"(^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$)"}},
    {"email", {kEmail, kBoundedEmail, kAnyEmail}},
    {"idn-email", {kEmail, kBoundedEmail, kAnyEmail}},
    {"hostname", {kHost, kBoundedHost, kAnyHost}},
    {"idn-hostname", {kHost, kBoundedHost, kAnyHost}},
    {"ipv4",
     {R"(^(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}$)"}},
    {"ipv6", {R"(^[0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4}){7}$)"}},
    {"uri", {kUri, kBoundedUri, kAnyUri}},
    {"uri-reference", {kUri, kBoundedUri, kAnyUri}},
    {"uri-template", {kUri, kBoundedUri, kAnyUri}},
    {"iri", {kUri, kBoundedUri, kAnyUri}},
    {"iri-reference", {kUri, kBoundedUri, kAnyUri}},
    {"json-pointer", {kPointer, R"(^(/[a-zA-Z0-9_.-]{1,12}){0,4}$)", "^/[a-zA-Z0-9_.-]*$"}},
    {"relative-json-pointer",
     {R"(^(0|[1-9][0-9]{0,3})(#|(/[a-zA-Z0-9_.-]*)*)$)", R"(^(0|[1-9][0-9]{0,3})(/[a-zA-Z0-9_.-]{1,12}){0,4}$)"}},
    {"regex",
     {R"(^\^?(([a-zA-Z0-9 _,:;@#/-]|\\[dwsDWS.]|\.|\[(a-z|A-Z|0-9|[a-zA-Z0-9_])+\])[+*?]?)*\$?$)",
      "^[a-zA-Z0-9 _-]*$"}},
    {"duration",
     {R"(^P([0-9]{1,9}D|[0-9]{1,9}W|T[0-9]{1,9}(H|M|S)|[0-9]{1,9}DT[0-9]{1,9}(H|M|S))$)", R"(^P[0-9]{1,9}D$)"}},
};

}  // namespace

std::span<const Keyword> schema_keywords() { return kKeywords; }

const Keyword* find_keyword(std::string_view name) {
  for (const Keyword& keyword : kKeywords) {
    if (keyword.name == name) return &keyword;
  }
  return nullptr;
}

std::span<const std::string_view> format_patterns(std::string_view format) {
  for (const Format& row : kFormats) {
    if (row.name != format) continue;
    std::span<const std::string_view> all = row.patterns;
    return all.first(static_cast<size_t>(std::ranges::find(all, "") - all.begin()));
  }
  return {};
}

}  // namespace millrace::grammar
