#!/usr/bin/env bash
# installed.sh BUILD CC [FLAGS]: installs into a temporary prefix and uses what is there as a stranger would: a C program by pkg-config, shared and
# static; the man page; the completions of bash and zsh, which must offer every option that a command's --help prints.
set -eu
build=$1 cc=$2
shift 2
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
fail() { printf 'installed: %s\n' "$*" >&2; exit 1; }

cmake --install "$build" --prefix "$prefix" >/dev/null
pc=$(find "$prefix" -name memplan.pc)
[ -n "$pc" ] || fail "no memplan.pc"
lib=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH=${pc%/*}${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export PATH=$prefix/bin:$PATH

# ---- the library ----
cat >"$prefix/use.c" <<'C'
#include <memplan/planner/memplan.h>
#include <stdio.h>

int main(int argc, char **argv) {
  mp_arena *a = mp_arena_new(0);
  mp_err err = {0};
  mp_run run = mp_run_default();
  mp_plan plan = {0};
  mp_binding dims[] = {{"batch", -1, 2}};
  mp_question q = {.path = argv[argc - 1], .bindings = dims, .binding_count = 1, .run = &run, .plan = &plan, .workspaces = mp_workspaces_default()};
  const mp_answer *x = mp_answer_make(a, &q, &err);
  if (x) printf("%llu\n", (unsigned long long)x->timeline->parameters);
  else fprintf(stderr, "%s\n", err.text);
  mp_arena_free(a);
  return err.code;
}
C
# shellcheck disable=SC2046
"$cc" "$@" -Wall -Wextra -Werror "$prefix/use.c" $(pkg-config --cflags --libs memplan) -o "$prefix/shared"
# shellcheck disable=SC2046
"$cc" "$@" "$prefix/use.c" $(pkg-config --cflags memplan) "$lib/libmemplan.a" $(pkg-config --static --libs memplan | sed 's/-lmemplan//') -o "$prefix/static"
[ "$(LD_LIBRARY_PATH=$lib "$prefix/shared" samples/dqn.onnx)" = 677172 ] || fail "the shared library counts otherwise"
[ "$("$prefix/static" samples/dqn.onnx)" = 677172 ] || fail "the static library counts otherwise"
[ "$(pkg-config --modversion memplan)" = "$(memplan --version | cut -d' ' -f2)" ] || fail "memplan.pc and memplan --version disagree"

# ---- every command's options: in the man page and in the completions ----
page=$prefix/share/man/man1/memplan.1
[ -f "$page" ] || fail "no man page"
text=$(sed 's/\\-/-/g' "$page")
if command -v man >/dev/null && text=$(MANWIDTH=120 man --warnings -l "$page" 2>"$prefix/warnings"); then
  [ ! -s "$prefix/warnings" ] || fail "man warns: $(cat "$prefix/warnings")"
else
  echo "skipped: no man to render the page"
fi

offered_bash() { # COMMAND: what bash completes after "memplan COMMAND --"
  bash -c 'source "$1"; COMP_WORDS=(memplan $2 --) COMP_CWORD=2; _memplan; printf "%s\n" "${COMPREPLY[@]}"' - "$prefix/share/bash-completion/completions/memplan" "$1"
}
offered_zsh() {
  zsh -f -c 'compadd() { print -l -- ${@[$@[(i)--]+1,-1]} }; compset() { :; }; words=(memplan $2 --) CURRENT=3; source $1' - "$prefix/share/zsh/site-functions/_memplan" "$1"
}
has_zsh=$(command -v zsh || echo)
[ -n "$has_zsh" ] || echo "skipped: no zsh"

commands=$(memplan --help | sed -n 's/^  \([a-z-]*\)  .*/\1/p')
count=0
for command in $commands; do
  grep -qF -- "memplan $command" <<<"$text" || fail "the man page has no 'memplan $command'"
  bash=$(offered_bash "$command")
  [ -z "$has_zsh" ] || zsh=$(offered_zsh "$command")
  for option in $(memplan "$command" --usage | grep -oE -- '--[a-z][a-z-]*' | sort -u); do
    count=$((count + 1))
    grep -qE -- "(^|[^a-z-])$option([^a-z-]|$)" <<<"$text" || fail "the man page has no $option (of memplan $command)"
    grep -qxF -- "$option" <<<"$bash" || fail "bash does not complete $option after memplan $command"
    [ -z "$has_zsh" ] || grep -qxF -- "$option" <<<"$zsh" || fail "zsh does not complete $option after memplan $command"
  done
done
every=$(for command in $commands; do memplan "$command" --usage; done)
for option in $(grep -oE -- '--[a-z][a-z-]*' <<<"$text" | sort -u); do
  case $option in --help | --version | --usage) continue ;; esac
  grep -qE -- "$option([^a-z-]|$)" <<<"$every" || fail "the man page has $option, which no command knows"
done
[ "$count" -gt 100 ] || fail "only $count options were found: --usage has changed its form"

# ---- completed values ----
values() { bash -c 'source "$1"; shift; COMP_WORDS=(memplan fit "$@"); COMP_CWORD=$#; COMP_CWORD=$((COMP_CWORD + 1)); _memplan; echo " ${COMPREPLY[*]} "' - "$prefix/share/bash-completion/completions/memplan" "$@"; }
for want in "--precision amp- amp-fp16" "--optimizer adamw adamw-8bit" "--attention = flash" "--device a100 a100-80g" "--loss cross cross-entropy" "--device 24GB,h10 24GB,h100-pcie"; do
  # shellcheck disable=SC2086
  set -- $want
  values "$1" "$2" | grep -q -- " $3" || fail "after memplan fit $1 $2, bash does not offer $3 but:$(values "$1" "$2")"
done
echo "installed: $count options in the man page and the completions"
