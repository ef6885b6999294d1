"""`leveret completion`: a script that teaches the shell leveret's commands and options."""

import sys
from dataclasses import dataclass, fields
from typing import Any, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Print a completion script for your shell.

    Examples:
      leveret completion bash > ~/.local/share/bash-completion/completions/leveret

      leveret completion zsh > ~/.zfunc/_leveret
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh"]]
    """Which shell."""

    def run(self) -> int:
        """Print the script."""
        from leveret.cli import COMMANDS, action_classes, command_class

        options = {}
        for name in COMMANDS:
            command = command_class(name)
            options[name] = _options(command, action_classes(command))
        script = _bash(options)
        if self.shell == "zsh":
            script = "#compdef leveret\nautoload -U +X bashcompinit && bashcompinit\n" + script
        sys.stdout.write(script)
        return 0


def _options(command: Any, actions: dict[str, Any]) -> str:
    """The options of a command; of one with actions, these and their options."""
    of = list(actions.values()) or [command]
    names = dict.fromkeys(f"--{one.name.replace('_', '-')}" for each in of for one in fields(each))
    return " ".join([*actions, "--help", *names])


def _bash(options: dict[str, str]) -> str:
    cases = "\n".join(f'    {name}) words="{words}" ;;' for name, words in options.items())
    return f"""\
_leveret() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{" ".join(options)}" -- "$word"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}}
complete -o filenames -F _leveret leveret
"""
