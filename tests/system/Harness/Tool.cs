using System.Diagnostics;
using System.Text;
using Dataplane.Interop.Linux;

namespace Dataplane.SystemTests.Harness;

/// <summary>What a program that has ended left.</summary>
public sealed record Finished(string CommandLine, int ExitCode, string Output, string Error)
{
    /// <summary>Everything the program said, for the message of a failed assertion.</summary>
    public override string ToString() => $"{CommandLine}\nexit code {ExitCode}\n{Output}{Error}";

    /// <summary>Fails unless the program succeeded.</summary>
    public Finished Succeeds()
    {
        Assert.True(ExitCode == 0, ToString());
        return this;
    }

    /// <summary>Fails unless the program ended with this code.</summary>
    public Finished EndsWith(int code)
    {
        Assert.True(ExitCode == code, $"expected exit code {code}\n{this}");
        return this;
    }

    /// <summary>Fails unless each text is in what the program wrote to standard error.</summary>
    public Finished Says(params string[] texts)
    {
        foreach (string text in texts)
        {
            Assert.True(Error.Contains(text, StringComparison.Ordinal), $"\"{text}\" is missing in\n{this}");
        }
        return this;
    }
}

/// <summary>A program that runs beside the test; its output is collected as it comes. Dispose ends it.</summary>
public sealed class Tool : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly string _commandLine;
    private readonly StringBuilder _output = new(), _error = new();
    private readonly Task[] _readers;
    private bool _disposed;

    private Tool(string[] command, IReadOnlyDictionary<string, string>? environment, string input, Action<Stream>? reader)
    {
        _commandLine = string.Join(' ', command);
        var start = new ProcessStartInfo(command[0], command[1..])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false,
        };
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }
        _process = Process.Start(start) ?? throw new InvalidOperationException($"{command[0]} cannot be started");
        _readers =
        [
            Task.Factory.StartNew(() => { if (reader is null) { Collect(_process.StandardOutput, _output); } else { reader(_process.StandardOutput.BaseStream); } }, TaskCreationOptions.LongRunning),
            Task.Factory.StartNew(() => Collect(_process.StandardError, _error), TaskCreationOptions.LongRunning),
        ];
        _process.StandardInput.Write(input);
        _process.StandardInput.Close();
    }

    public int Pid => _process.Id;

    public bool HasEnded => _process.HasExited;

    /// <summary>What it has written to standard output so far.</summary>
    public string Output { get { lock (_output) { return _output.ToString(); } } }

    /// <summary>What it has written to standard error so far.</summary>
    public string Error { get { lock (_error) { return _error.ToString(); } } }

    /// <summary>Starts a program.</summary>
    /// <param name="command">The program and its arguments.</param>
    /// <param name="environment">Variables besides those of the test.</param>
    /// <param name="input">Its standard input.</param>
    /// <param name="reader">Reads its output in place of <see cref="Output"/>, on a thread of its own.</param>
    public static Tool Start(string[] command, IReadOnlyDictionary<string, string>? environment = null, string input = "", Action<Stream>? reader = null) =>
        new(command, environment, input, reader);

    /// <summary>Runs a program to its end.</summary>
    public static Finished Run(string[] command, IReadOnlyDictionary<string, string>? environment = null, string input = "")
    {
        using Tool tool = Start(command, environment, input);
        return tool.Wait();
    }

    /// <summary>Runs a program to its end, which must be success; gives its standard output.</summary>
    public static string Do(params string[] command) => Run(command).Succeeds().Output;

    /// <summary>Waits for its end.</summary>
    public Finished Wait()
    {
        if (!_process.WaitForExit(Limit))
        {
            Assert.Fail($"{_commandLine} has not ended within {Limit.TotalSeconds:0} s\n{Output}{Error}");
        }
        Task.WaitAll(_readers, Limit);
        return new Finished(_commandLine, _process.ExitCode, Output, Error);
    }

    /// <summary>Waits until a text stands in its output.</summary>
    public void WaitFor(string text) =>
        Until.True(
            () => Output.Contains(text, StringComparison.Ordinal) || Error.Contains(text, StringComparison.Ordinal) || FailIfEnded(text),
            $"\"{text}\" from {_commandLine}", () => Output + Error);

    public void Signal(int signal)
    {
        if (!_process.HasExited)
        {
            LinuxProcess.Kill(_process.Id, signal);
        }
    }

    /// <summary>Ends it as Ctrl-C does, and waits.</summary>
    public Finished Interrupt()
    {
        Signal(LinuxProcess.SIGINT);
        return Wait();
    }

    public void Dispose()
    {
        if (_disposed)
        {
            return;
        }
        _disposed = true;
        Signal(LinuxProcess.SIGKILL);
        _process.WaitForExit(Limit);
        _process.Dispose();
    }

    private bool FailIfEnded(string text)
    {
        if (_process.HasExited)
        {
            Finished end = Wait();
            Assert.True((end.Output + end.Error).Contains(text, StringComparison.Ordinal), $"ended without \"{text}\": {end}");
        }
        return false;
    }

    private static void Collect(StreamReader from, StringBuilder to)
    {
        var buffer = new char[4096];
        for (int read; (read = from.Read(buffer, 0, buffer.Length)) > 0;)
        {
            lock (to)
            {
                to.Append(buffer, 0, read);
            }
        }
    }
}
