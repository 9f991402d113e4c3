using System.CommandLine;

namespace Dataplane.Control.Cli;

/// <summary>
/// <c>dataplane completion SHELL</c>: a script for the shell, which asks this program what could stand at the cursor. So it knows
/// what the program knows, names of networks and ports included.
/// </summary>
internal static class CompletionCommand
{
    private const string Bash = """
        _dataplane() {
          local IFS=$'\n'
          COMPREPLY=($(compgen -W "$(dataplane "[suggest:$COMP_POINT]" "$COMP_LINE" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
        }
        complete -o default -F _dataplane dataplane
        """;

    private const string Zsh = """
        #compdef dataplane
        _dataplane() {
          local -a found
          found=(${(f)"$(dataplane "[suggest:$CURSOR]" "$BUFFER" 2>/dev/null)"})
          compadd -a found || _files
        }
        compdef _dataplane dataplane
        """;

    private const string Fish = """
        complete -c dataplane -a '(dataplane "[suggest:"(commandline -C)"]" (commandline -p) 2>/dev/null)'
        """;

    public static Command Build()
    {
        var shell = new Argument<string>("SHELL") { Description = "bash, zsh or fish" };
        shell.AcceptOnlyFromAmong("bash", "zsh", "fish");
        return new Command("completion", "Print a script that teaches a shell to complete this program's commands") { shell }
            .Does((parsed, _) =>
            {
                Output.Line(parsed.GetRequiredValue(shell) switch { "bash" => Bash, "zsh" => Zsh, _ => Fish });
                return Task.FromResult(ExitCode.Success);
            })
            .WithExamples(
                "source <(dataplane completion bash)                  for this shell",
                "dataplane completion bash > /etc/bash_completion.d/dataplane",
                "dataplane completion zsh > \"${fpath[1]}/_dataplane\"",
                "dataplane completion fish > ~/.config/fish/completions/dataplane.fish");
    }
}
