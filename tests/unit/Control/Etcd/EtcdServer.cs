using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Dataplane.UnitTests.Interop.Linux;
using Etcdserverpb;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;

namespace Dataplane.UnitTests.Control.Etcd;

/// <summary>A real etcd (Debian's etcd-server) of one member on loopback (<see cref="OwnLoopback"/>), with a data directory of its own.</summary>
internal sealed class EtcdServer : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly IPEndPoint _client = OwnLoopback.Next(), _peer = OwnLoopback.Next();
    private readonly string[] _options;
    private Process? _process;

    /// <param name="options">More options of etcd; with <paramref name="scheme"/> "https" those of its certificate.</param>
    /// <param name="scheme">http or https.</param>
    public EtcdServer(string scheme = "http", params string[] options)
    {
        Scheme = scheme;
        _options = options;
        Channel = GrpcChannel.ForAddress($"http://{Address}");
        Kv = new KV.KVClient(Channel);
        Start();
    }

    public string Scheme { get; }
    public string Address => _client.ToString();
    public GrpcChannel Channel { get; }
    public KV.KVClient Kv { get; }

    public void Start()
    {
        string client = $"{Scheme}://{Address}", peer = $"http://{_peer}";
        _process = Shell.Start(
        [
            "etcd", "--name", "m", "--data-dir", _directory.File("data"), "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", $"m={peer}", "--logger", "zap", "--log-level", "error",
            "--log-outputs", _directory.File("log"), "--unsafe-no-fsync", .. _options,
        ]);
        // As long as a busy machine takes.
        for (int i = 0; i < 6000 && !_process.HasExited; i++)
        {
            if (Answers())
            {
                return;
            }
            Thread.Sleep(10);
        }
        Assert.Fail($"etcd has not started: {File.ReadAllText(_directory.File("log"))}");
    }

    /// <summary>Over TLS somebody who has no certificate can only see that it listens.</summary>
    private bool Answers()
    {
        try
        {
            using var probe = new TcpClient();
            probe.Connect(_client);
            if (Scheme == "http")
            {
                Kv.Range(new RangeRequest { Key = ByteString.CopyFromUtf8("/") }, deadline: DateTime.UtcNow.AddSeconds(5));
            }
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
        catch (RpcException e)
        {
            // Refused, for want of a user, is an answer too.
            return e.StatusCode is not (StatusCode.Unavailable or StatusCode.DeadlineExceeded);
        }
    }

    public void Stop()
    {
        _process!.Kill();
        _process.WaitForExit();
        _process.Dispose();
        _process = null;
    }

    public void Put(string key, string value) => Kv.Put(new PutRequest { Key = ByteString.CopyFromUtf8(key), Value = ByteString.CopyFromUtf8(value) });

    public void Delete(string key) => Kv.DeleteRange(new DeleteRangeRequest { Key = ByteString.CopyFromUtf8(key) });

    /// <summary>All keys of resources, in order.</summary>
    public IEnumerable<string> Keys() => Kv.Range(new RangeRequest { Key = ByteString.CopyFromUtf8("/"), RangeEnd = ByteString.CopyFromUtf8("0"), KeysOnly = true })
        .Kvs.Select(k => k.Key.ToStringUtf8()).Where(k => !k.Contains("/alive/", StringComparison.Ordinal)).Order(StringComparer.Ordinal);

    /// <summary>Forgets the history of all changes up to now.</summary>
    public void Compact()
    {
        long revision = Kv.Range(new RangeRequest { Key = ByteString.CopyFromUtf8("/") }).Header.Revision;
        Kv.Compact(new CompactionRequest { Revision = revision, Physical = true });
    }

    public void Dispose()
    {
        Channel.Dispose();
        if (_process is not null)
        {
            Stop();
        }
        _directory.Dispose();
    }
}
