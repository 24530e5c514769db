#include "store/model_store.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/sha256.h"
#include "store/wheel.h"
#include "tests/support/temp_dir.h"

namespace millrace::store {
namespace {

std::string sha256_hex(std::string_view text) {
  Sha256 digest;
  digest.update(text);
  return hex(digest.finish());
}

TEST(Sha256, KnownDigests) {  // FIPS 180-2, appendix B
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  Sha256 empty;
  EXPECT_EQ(base64_url(empty.finish()), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
}

TEST(PypiReference, Parts) {
  auto plain = parse_pypi_reference("pypi:llm-x==1.0#m.gguf@sha256=" + std::string(64, 'a'));
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->packages, std::vector<std::string>{"llm-x==1.0"});
  EXPECT_EQ(plain->member, "m.gguf");
  EXPECT_EQ(plain->sha256, std::string(64, 'a'));
  EXPECT_EQ(plain->file_name, "llm-x==1.0-m.gguf");
  auto joined = parse_pypi_reference("pypi:a==1,b==1,c==2");
  ASSERT_TRUE(joined.ok());
  EXPECT_EQ(joined->packages.size(), 3u);
  EXPECT_EQ(joined->file_name, "a==1+2.gguf");
  for (const char* bad : {"pypi:", "x:a", "pypi:a b", "pypi:--index-url=x", "pypi:a,,b", "pypi:a#../x", "pypi:a#",
                          "pypi:a;rm", "pypi:a@sha256=12", "pypi:a#/etc/passwd"}) {
    EXPECT_EQ(parse_pypi_reference(bad).error().code, ErrorCode::kUsage) << bad;
  }
  for (const KnownModel& known : known_models()) {
    EXPECT_TRUE(parse_pypi_reference(known.reference).ok()) << known.name;
  }
}

TEST(Wheel, RecordRows) {
  auto files = parse_record("a/b.gguf,sha256=abc,12\r\na,with,commas.txt,sha256=def,3\nx.dist-info/RECORD,,\n");
  ASSERT_TRUE(files.ok());
  ASSERT_EQ(files->size(), 2u);
  EXPECT_EQ((*files)[0].path, "a/b.gguf");
  EXPECT_EQ((*files)[0].bytes, 12u);
  EXPECT_EQ((*files)[1].path, "a,with,commas.txt");
  for (const char* bad : {"../x,sha256=a,1\n", "/x,sha256=a,1\n", "x,sha256=a,one\n"})
    EXPECT_FALSE(parse_record(bad).ok()) << bad;
}

TEST(Wheel, MemberByNameOrSize) {
  testing::TempDir dir;
  std::filesystem::create_directories(dir.path() + "/p-1.dist-info");
  ASSERT_TRUE(
      write_file_atomic(dir.path() + "/p-1.dist-info/RECORD", "p/small.txt,sha256=a,1\np/big.gguf,sha256=b,9\n").ok());
  EXPECT_EQ(find_member(dir.path(), "")->path, "p/big.gguf");
  EXPECT_EQ(find_member(dir.path(), "small.txt")->path, "p/small.txt");
  EXPECT_EQ(find_member(dir.path(), "mall.txt").error().code, ErrorCode::kNotFound);
}

TEST(Wheel, ProgramsWithoutAShell) {
  EXPECT_TRUE(run_program({"true"}).ok());
  EXPECT_FALSE(run_program({"false"}).ok());
  EXPECT_FALSE(run_program({"true; true"}).ok());
}

TEST(ModelStore, LocalReferences) {
  testing::TempDir dir;
  ModelStore store(dir.path() + "/home");
  auto touch = [&](const std::string& path) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    ASSERT_TRUE(write_file_atomic(path, "x").ok());
  };
  touch(dir.path() + "/a.gguf");
  touch(dir.path() + "/hf/config.json");
  touch(dir.path() + "/home/models/mine.gguf");
  touch(dir.path() + "/home/models/smollm2.gguf");
  touch(dir.path() + "/home/models/p==1.gguf");
  EXPECT_EQ(*store.resolve({.reference = dir.path() + "/a.gguf"}, {}), dir.path() + "/a.gguf");
  EXPECT_EQ(*store.resolve({.reference = dir.path() + "/hf"}, {}), dir.path() + "/hf");
  EXPECT_EQ(*store.resolve({.reference = "mine"}, {}), dir.path() + "/home/models/mine.gguf");
  EXPECT_EQ(*store.resolve({.reference = "smollm2"}, {}),
            dir.path() + "/home/models/smollm2.gguf");  // stored: no network
  EXPECT_EQ(*store.resolve({.reference = "pypi:p==1"}, {}), dir.path() + "/home/models/p==1.gguf");
  std::vector<std::string> names;
  for (const ModelStore::Entry& entry : store.list()) {
    names.push_back(entry.name);
    EXPECT_EQ(entry.bytes, 1u);
    EXPECT_GT(entry.modified_s, 0);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"mine", "p==1", "smollm2"}));
  for (const char* missing : {"nothing", "../a", "no/such.gguf", ".hidden"}) {
    EXPECT_EQ(store.resolve({.reference = missing}, {}).error().code, ErrorCode::kNotFound) << missing;
  }
  EXPECT_EQ(store.resolve({.reference = ""}, {}).error().code, ErrorCode::kUsage);
}

TEST(ModelStore, CopyAndRemove) {
  testing::TempDir dir;
  ModelStore store(dir.path() + "/home");
  const std::string path = dir.write("a.gguf", "weights");
  ASSERT_TRUE(store.copy(path, "mine").ok());
  EXPECT_EQ(store.copy(path, "mine").error().code, ErrorCode::kUsage);
  for (const char* bad : {"", ".x", "a/b", "a:b"})
    EXPECT_EQ(store.copy(path, bad).error().code, ErrorCode::kUsage) << bad;
  EXPECT_EQ(store.copy(dir.path(), "folder").error().code, ErrorCode::kUsage);
  EXPECT_EQ(*store.resolve({.reference = "mine"}, {}), dir.path() + "/home/models/mine.gguf");
  EXPECT_EQ(store.remove("other").error().message, "no model other in the store; there is: mine");
  EXPECT_TRUE(store.remove("mine").ok());
  EXPECT_TRUE(file_exists(path));
  EXPECT_TRUE(store.list().empty());
  EXPECT_EQ(store.remove("../a").error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace millrace::store
