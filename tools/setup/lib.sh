# Shared by ./quickstart and ./check: progress lines and packages. Sourced, not run.

# say TEXT: one progress line on stderr with the seconds since the script began.
say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }

# need_packages KIND...: installs the Debian packages of those kinds that are missing; without root says which.
need_packages() {
  local kind missing=()
  for kind in "$@"; do
    local package
    while read -r package; do
      [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done < <(awk -v kind="$kind" '$1 == kind { print $2 }' tools/setup/packages.txt)
  done
  [ "${#missing[@]}" -eq 0 ] && return 0
  if [ "$(id -u)" -ne 0 ]; then
    echo "Millrace needs ${#missing[@]} Debian packages that only root can install. Run this once, then start again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  say "installing ${#missing[@]} packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q >&2
  apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
}

# Paths relative to this checkout: another clone finds what this one compiled. Headers are hashed after the compiler
# read them, and newer ones are noticed: hashed before, an object is kept under a header that changed meanwhile (a
# branch switched during a build) and breaks every later clone. The namespace leaves such entries behind.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_DEPEND=1 CCACHE_NAMESPACE=millrace-depend

# build PRESET TARGET...: configures and builds in build/PRESET.
build() {
  local preset=$1
  shift
  say "configuring $preset"
  mkdir -p build
  cmake --preset "$preset" >"build/$preset.log" 2>&1 || { cat "build/$preset.log" >&2; exit 1; }
  say "building $preset: $*"
  ninja -C "build/$preset" "$@" >&2
}
