using System.Net.Sockets;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Vpp;

/// <summary>VPP that runs in a private directory, with a socket of its command line there.</summary>
public sealed class VppProcess : IDisposable
{
    private const string SharedMemory = "/dev/shm";
    private static readonly TimeSpan s_startTime = TimeSpan.FromSeconds(180);

    private readonly ChildProcess _process;
    private readonly string _directory, _prefix;
    private readonly CancellationToken _cancel;
    private readonly VppCli _cli;

    /// <summary>Starts it, and waits until it listens.</summary>
    /// <param name="program">Its path.</param>
    /// <param name="sections">Its start-up configuration, without what says where its files are.</param>
    /// <param name="directory">For its files and sockets.</param>
    /// <param name="cancel">Ends whatever waits.</param>
    public VppProcess(string program, IEnumerable<string> sections, string directory, CancellationToken cancel)
    {
        (_directory, _cancel) = (directory, cancel);
        // The names of its shared memory, which lies beside the work directory.
        _prefix = Path.GetRelativePath(SharedMemory, directory).Replace('/', '-').TrimStart('.', '-');
        string configuration = Path.Combine(directory, "startup.conf"), socket = Path.Combine(directory, "cli.sock");
        File.WriteAllLines(configuration,
        [
            $"unix {{ nodaemon nosyslog runtime-dir {directory} cli-listen {socket} }}",
            $"api-segment {{ prefix {_prefix} }}",
            .. sections,
        ]);
        _process = new ChildProcess(program, ["-c", configuration], directory);
        try
        {
            _cli = Connect(socket);
        }
        catch
        {
            End();
            throw;
        }
        Configuration = string.Join(' ', sections);
    }

    /// <summary>Its start-up configuration on one line.</summary>
    public string Configuration { get; }

    public string CommandLine => $"{_process.CommandLine} # {Configuration}";

    /// <summary>Gives what a command prints.</summary>
    public string Ask(string command)
    {
        _cancel.ThrowIfCancellationRequested();
        try
        {
            return _cli.Ask(command);
        }
        catch (SocketException e)
        {
            throw Failure($"does not answer \"{command}\": {e.Message}");
        }
    }

    /// <summary>Runs commands one after the other; the first that fails ends it.</summary>
    /// <exception cref="BenchException">One failed.</exception>
    public void Do(IEnumerable<string> commands)
    {
        string file = Path.Combine(_directory, "commands");
        File.WriteAllLines(file, commands);
        // What the commands print is not in the answer, their failures are.
        if (Ask($"exec {file}").Trim() is { Length: > 0 } failure)
        {
            throw Failure($"refuses a command: {failure}");
        }
    }

    /// <summary>What went wrong, with the end of its output.</summary>
    public BenchException Failure(string what) => _process.Failure(what);

    public void Dispose()
    {
        _cli.Dispose();
        End();
    }

    private void End()
    {
        _process.Dispose();
        foreach (string path in Directory.EnumerateFiles(SharedMemory, $"{_prefix}-*"))
        {
            File.Delete(path);
        }
    }

    private VppCli Connect(string socket)
    {
        for (long end = Environment.TickCount64 + (long)s_startTime.TotalMilliseconds; ;)
        {
            _cancel.ThrowIfCancellationRequested();
            try
            {
                return new VppCli(socket);
            }
            catch (SocketException) when (!_process.HasExited && Environment.TickCount64 < end)
            {
                _cancel.WaitHandle.WaitOne(TimeSpan.FromMilliseconds(20));
            }
            catch (SocketException)
            {
                throw Failure("did not start");
            }
        }
    }
}
