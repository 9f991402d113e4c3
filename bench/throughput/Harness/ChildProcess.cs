using System.Diagnostics;
using System.Threading.Channels;

namespace Dataplane.ThroughputBench.Harness;

/// <summary>
/// A program under measurement: its output line by line, and the end of it in messages when something fails. Disposing of it ends
/// it, gently first.
/// </summary>
public sealed class ChildProcess : IDisposable
{
    private const int TailLines = 12;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly Process _process;
    private readonly Queue<string> _tail = new();
    private readonly Channel<string> _lines = Channel.CreateUnbounded<string>();
    private int _openStreams = 2;

    /// <param name="program">Its path.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="runtimeDirectory">Where DPDK may leave files of a running process.</param>
    /// <param name="environment">Variables besides those of this process.</param>
    public ChildProcess(string program, IReadOnlyList<string> arguments, string runtimeDirectory, IReadOnlyDictionary<string, string>? environment = null)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["RUNTIME_DIRECTORY"] = runtimeDirectory;
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }
        CommandLine = string.Join(' ', arguments.Prepend(program).Select(Quote));
        _process = new Process { StartInfo = start };
        _process.OutputDataReceived += (_, e) => Take(e.Data);
        _process.ErrorDataReceived += (_, e) => Take(e.Data);
        _process.Start();
        _process.StandardInput.Close();
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    /// <summary>As a shell would take it.</summary>
    public string CommandLine { get; }

    public int Id => _process.Id;

    public bool HasExited => _process.HasExited;

    /// <summary>The next line of its output, null at the end of it.</summary>
    /// <exception cref="BenchException">None came in time.</exception>
    public string? ReadLine(TimeSpan timeout, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(timeout);
        try
        {
            ValueTask<bool> more = _lines.Reader.WaitToReadAsync(limit.Token);
            return more.AsTask().GetAwaiter().GetResult() && _lines.Reader.TryRead(out string? line) ? line : null;
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw Failure($"said nothing for {timeout.TotalSeconds:0} s");
        }
    }

    /// <summary>What went wrong, with the end of its output.</summary>
    public BenchException Failure(string what)
    {
        lock (_tail)
        {
            string tail = string.Concat(_tail.Select(line => $"{Environment.NewLine}    {line}"));
            return new BenchException($"{Path.GetFileName(_process.StartInfo.FileName)} {what}{Environment.NewLine}  {CommandLine}{tail}");
        }
    }

    /// <summary>Waits for it to end by itself. False when it does not.</summary>
    public bool WaitForExit(TimeSpan timeout) => _process.WaitForExit(timeout);

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            Interop.Linux.LinuxProcess.Kill(_process.Id, Interop.Linux.LinuxProcess.SIGTERM);
            if (!_process.WaitForExit(Patience))
            {
                _process.Kill();
                _process.WaitForExit();
            }
        }
        _process.Dispose();
    }

    private void Take(string? line)
    {
        if (line is null)
        {
            if (Interlocked.Decrement(ref _openStreams) == 0)
            {
                _lines.Writer.Complete();
            }
            return;
        }
        lock (_tail)
        {
            _tail.Enqueue(line);
            if (_tail.Count > TailLines)
            {
                _tail.Dequeue();
            }
        }
        _lines.Writer.TryWrite(line);
    }

    private static string Quote(string argument) =>
        argument.Length != 0 && argument.All(c => char.IsAsciiLetterOrDigit(c) || "-_./,:=@+".Contains(c, StringComparison.Ordinal))
            ? argument
            : $"'{argument.Replace("'", @"'\''", StringComparison.Ordinal)}'";
}
