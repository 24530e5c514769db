#include "store/hub.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "store/hub_reference.h"
#include "tests/support/temp_dir.h"

namespace millrace::store {
namespace {

HubTree tree_of(const std::vector<std::string>& paths) {
  HubTree tree{.commit = "c0ffee"};
  for (const std::string& path : paths) tree.files.push_back({.path = path, .bytes = 1});
  return tree;
}

std::vector<std::string> chosen(const std::vector<std::string>& paths, const std::string& reference) {
  auto choice = choose_files(tree_of(paths), *parse_hub_reference(reference));
  if (!choice.ok()) return {error_slug(choice.error().code).data()};
  std::vector<std::string> out{choice->entry};
  for (const HubFile& file : choice->files) out.push_back(file.path);
  return out;
}

using List = std::vector<std::string>;

TEST(HubReference, Parts) {
  auto all = parse_hub_reference("hf://Owner/Name-1.5@v2:q4_k_m");
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all->repo, "Owner/Name-1.5");
  EXPECT_EQ(all->revision, "v2");
  EXPECT_EQ(all->quant, "Q4_K_M");
  EXPECT_EQ(all->text(), "Owner/Name-1.5@v2:Q4_K_M");
  EXPECT_EQ(parse_hub_reference("a/b")->text(), "a/b");
  EXPECT_EQ(parse_hub_reference("a/b")->selection(), "default");
  for (const char* bad : {"", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a/b:", "a/b@", "a/b:x/y", "a b/c", "a/b@x:y:z",
                          "hf://", "-a/b", "a/b@../x"}) {
    EXPECT_EQ(parse_hub_reference(bad).error().code, ErrorCode::kUsage) << bad;
  }
  EXPECT_TRUE(is_hub_reference("a/b:Q8_0"));
  for (const char* path : {"./a/b", "/a/b", "a/b.gguf", "~/a", "name"}) EXPECT_FALSE(is_hub_reference(path)) << path;
}

TEST(HubReference, QuantsAndDefaults) {
  const List ggufs = {"m.Q2_K.gguf", "m.Q4_K_M.gguf", "m.Q4_K.gguf", "m.q8_0.gguf", "mmproj-m-Q8_0.gguf", "README.md"};
  EXPECT_EQ(chosen(ggufs, "a/b"), (List{"m.Q4_K_M.gguf", "m.Q4_K_M.gguf"}));
  EXPECT_EQ(chosen(ggufs, "a/b:q4_k"), (List{"m.Q4_K.gguf", "m.Q4_K.gguf"}));
  EXPECT_EQ(chosen(ggufs, "a/b:Q8_0"), (List{"m.q8_0.gguf", "m.q8_0.gguf"}));
  EXPECT_EQ(chosen(ggufs, "a/b:Q5_K_M"), (List{"not_found"}));
  EXPECT_EQ(chosen({"x-IQ1.gguf", "x_Q8_0.gguf"}, "a/b"), (List{"x_Q8_0.gguf", "x_Q8_0.gguf"}));
  EXPECT_EQ(chosen({"z.gguf", "y.gguf"}, "a/b"), (List{"y.gguf", "y.gguf"}));
  EXPECT_EQ(chosen({"README.md"}, "a/b"), (List{"not_found"}));
  const List folder = {"config.json",     "model.safetensors", "tokenizer.json",
                       "onnx/model.onnx", "sub/x.safetensors", "LICENSE"};
  EXPECT_EQ(chosen(folder, "a/b"), (List{"", "config.json", "model.safetensors", "tokenizer.json"}));
  auto by_file = *parse_hub_reference("a/b");
  by_file.file = "m.Q2_K.gguf";
  EXPECT_EQ(choose_files(tree_of(ggufs), by_file)->entry, "m.Q2_K.gguf");
  by_file.file = "other.gguf";
  EXPECT_EQ(choose_files(tree_of({"m.gguf"}), by_file).error().message,
            "a/b has no file other.gguf; its weight files: m.gguf");
}

TEST(HubReference, SplitSetsAreTakenWhole) {
  const List split = {"q/m-Q4_K_M-00002-of-00002.gguf", "q/m-Q4_K_M-00001-of-00002.gguf",
                      "q/m-Q8_0-00001-of-00003.gguf"};
  EXPECT_EQ(chosen(split, "a/b"), (List{split[1], split[1], split[0]}));
  EXPECT_EQ(chosen(split, "a/b:Q8_0"), (List{"not_found"}));  // parts 2 and 3 are missing
}

TEST(HubReference, Listings) {
  auto tree = parse_hub_tree(R"({"sha":"abc1","siblings":[{"rfilename":".gitattributes","size":5},
      {"rfilename":"m.gguf","size":9,
       "lfs":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":7}},
      {"rfilename":"config.json","size":2}]})");
  ASSERT_TRUE(tree.ok());
  ASSERT_EQ(tree->files.size(), 2u);
  EXPECT_EQ(tree->files[0].bytes, 7u);
  EXPECT_EQ(tree->files[0].sha256.size(), 64u);
  EXPECT_EQ(tree->files[1].sha256, "");
  for (const char* bad :
       {"", "[]", "{}", R"({"sha":"../x","siblings":[]})", R"({"sha":"a","siblings":{}})",
        R"({"sha":"a","siblings":[{}]})", R"({"sha":"a","siblings":[{"rfilename":"../x"}]})",
        R"({"sha":"a","siblings":[{"rfilename":"/x"}]})", R"({"sha":"a","siblings":[{"rfilename":"a//b"}]})",
        R"({"sha":"a","siblings":[{"rfilename":"a/.x"}]})", R"({"sha":"a","siblings":[{"rfilename":"a\\b"}]})",
        R"({"sha":"a","siblings":[{"rfilename":7}]})",
        R"({"sha":"a","siblings":[{"rfilename":"x","lfs":{"sha256":"12"}}]})"}) {
    EXPECT_FALSE(parse_hub_tree(bad).ok()) << bad;
  }
}

TEST(Hub, LocalSelectionsAndTheirRemoval) {
  testing::TempDir dir;
  Hub hub(dir.path(), {});
  const std::string home = dir.path() + "/hub/a--b";
  std::filesystem::create_directories(home + "/refs");
  std::filesystem::create_directories(home + "/abc1");
  dir.write("hub/a--b/refs/main", "abc1\n");
  dir.write("hub/a--b/abc1/m.Q8_0.gguf", "x");
  dir.write("hub/a--b/abc1/m.Q2_K.gguf", "x");
  dir.write("hub/a--b/abc1/.have-Q8_0", "m.Q8_0.gguf\n");
  dir.write("hub/a--b/abc1/.have-Q2_K", "m.Q2_K.gguf\n");
  dir.write("hub/a--b/abc1/.have-Q4_0", "m.Q4_0.gguf\n");  // its file is gone
  EXPECT_EQ(hub.find(*parse_hub_reference("a/b:q8_0")), home + "/abc1/m.Q8_0.gguf");
  EXPECT_EQ(hub.find(*parse_hub_reference("a/b:Q4_0")), std::nullopt);
  EXPECT_EQ(hub.find(*parse_hub_reference("a/b")), std::nullopt);
  ASSERT_EQ(hub.list().size(), 2u);
  EXPECT_EQ(hub.list()[0].reference.text(), "a/b:Q2_K");
  EXPECT_EQ(*hub.remove(*parse_hub_reference("a/b:Q8_0")), true);
  EXPECT_FALSE(std::filesystem::exists(home + "/abc1/m.Q8_0.gguf"));
  EXPECT_EQ(*hub.remove(*parse_hub_reference("a/b:Q8_0")), false);
  EXPECT_EQ(hub.list().size(), 1u);
}

TEST(Hub, WithoutANetworkTheErrorNamesTheSwitch) {
  testing::TempDir dir;
  const auto reference = *parse_hub_reference("a/b");
  EXPECT_EQ(Hub(dir.path(), {.endpoint = "http://127.0.0.1:1", .offline = "HF_HUB_OFFLINE"})
                .fetch(reference, {})
                .error()
                .message,
            "a/b is not in the local store, and HF_HUB_OFFLINE forbids fetching it");
  EXPECT_EQ(Hub(dir.path(), {}).fetch(reference, {}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(Hub(dir.path(), {.endpoint = "ftp://x"}).fetch(reference, {}).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(Hub(dir.path(), {.endpoint = "http://127.0.0.1:1"}).fetch(reference, {}).error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace millrace::store
