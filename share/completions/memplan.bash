# bash completion for memplan. Commands, options and words come from memplan itself, so this file does not age.

_memplan_words() { # OPTION: the words that it takes, from the complaint about a wrong one
  "${COMP_WORDS[0]}" plan "--$1=?" 2>&1 | sed -n '1s/.* is none of //p' | tr -d ','
}

_memplan_devices() { # the short name of each device
  "${COMP_WORDS[0]}" devices --json 2>/dev/null | tr '\n' ' ' | grep -oE '"aliases": *\[ *"[^"]*"' | sed -E 's/.*"([^"]*)"$/\1/'
}

_memplan_values() { # OPTION
  case $1 in
    device) echo "all 24GB 40GB 80GB $(_memplan_devices | tr '\n' ' ')" ;;
    optimizer | precision | attention | loss | zero-grad | granularity) _memplan_words "$1" ;;
    checkpoint) echo "none blocks auto" ;;
    to) echo "torch fsdp deepspeed megatron torchtitan" ;;
    recompute) echo "none selective full" ;;
    math) echo "fp32 tf32 fp16 bf16 fp8" ;;
    workspace) echo "cublas= cudnn= context=" ;;
    *) return 1 ;;
  esac
}

_memplan() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} before='' words
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" --help | sed -n 's/^  \([a-z-]*\)  .*/\1/p') --help --version" -- "$cur"))
    return
  fi
  # "--device=a" arrives as "--device" "=" "a"
  [ "$cur" = = ] && cur=''
  [ "$prev" = = ] && prev=${COMP_WORDS[COMP_CWORD - 2]}
  if [[ $prev == --* ]] && words=$(_memplan_values "${prev#--}"); then
    if [ "$prev" = --device ] && [[ $cur == *,* ]]; then before=${cur%,*},; cur=${cur##*,}; fi
    COMPREPLY=($(compgen -P "$before" -W "$words" -- "$cur"))
  elif [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" "$command" --help 2>/dev/null | grep -oE -- '^ +(-., +)?(-\?, +)?--[a-z-]+' | grep -oE -- '--[a-z-]+')" -- "$cur"))
  else
    COMPREPLY=($(compgen -f -X '!*.@(onnx|json|csv)' -- "$cur") $(compgen -d -- "$cur"))
  fi
}
complete -o filenames -F _memplan memplan
