using System.CommandLine;
using Dataplane.Control.Api.V1;
using Spectre.Console;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane top</c>: ports by rate, drop reasons and the workers' load, live.</summary>
internal static class TopCommand
{
    public static Command Build()
    {
        var interval = new Option<double>("--delay", "-d") { Description = "Seconds between two looks", HelpName = "SECONDS", DefaultValueFactory = _ => 1 };
        var times = new Option<int>("--iterations", "-n") { Description = "End after so many looks (default: at Ctrl-C)", HelpName = "N" };
        interval.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<double>() is not (>= 0.1 and <= 3600))
            {
                result.AddError("--delay goes from 0.1 to 3600 seconds");
            }
        });
        return new Command("top", "Ports by rate, drop reasons and the workers' load, live until Ctrl-C") { interval, times }
            .Calls(async (parsed, client, cancel) =>
            {
                var pause = TimeSpan.FromSeconds(parsed.GetValue(interval));
                int looks = parsed.GetValue(times) is > 0 and var n ? n : int.MaxValue;
                TopSample before = await TopSample.TakeAsync(client, cancel);
                if (Console.IsOutputRedirected)
                {
                    IAnsiConsole plain = Output.Terminal;
                    for (int i = 0; i < looks; i++)
                    {
                        await Task.Delay(pause, cancel);
                        TopSample now = await TopSample.TakeAsync(client, cancel);
                        plain.Write(TopScreen.Render(before, now, int.MaxValue));
                        before = now;
                    }
                    return;
                }
                AnsiConsole.AlternateScreen(() => AnsiConsole.Live(new Text("measuring …")).StartAsync(async screen =>
                {
                    for (int i = 0; i < looks; i++)
                    {
                        await Task.Delay(pause, cancel);
                        TopSample now = await TopSample.TakeAsync(client, cancel);
                        screen.UpdateTarget(TopScreen.Render(before, now, Console.WindowHeight));
                        screen.Refresh();
                        before = now;
                    }
                }).GetAwaiter().GetResult());
            })
            .WithExamples("dataplane top", "dataplane top --delay 5", "dataplane top -n 1 > now.txt              one look, as text");
    }
}
