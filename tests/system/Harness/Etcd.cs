using System.Globalization;
using System.Net.Sockets;
using Dataplane.Interop.Linux;
using Etcdserverpb;
using Google.Protobuf;
using Grpc.Net.Client;

namespace Dataplane.SystemTests.Harness;

/// <summary>
/// A real etcd of one member in a namespace, with its data in a directory of its own. It serves nodes over TCP, and the test over a
/// unix socket.
/// </summary>
public sealed class Etcd : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("dpsys-etcd-").FullName;
    private readonly Namespace _home;
    private readonly string _listenOn;
    private readonly int _port;
    private readonly GrpcChannel _channel;
    private readonly KV.KVClient _kv;
    private Tool? _process;

    /// <param name="home">Where it runs.</param>
    /// <param name="port">Its port there.</param>
    /// <param name="listenOn">An address of the namespace; by default its loopback.</param>
    public Etcd(Namespace home, int port = 23790, string listenOn = "127.0.0.1")
    {
        (_home, _port, _listenOn) = (home, port, listenOn);
        _channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler
            {
                UseProxy = false,
                ConnectCallback = async (_, cancel) =>
                {
                    var connection = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                    await connection.ConnectAsync(new UnixDomainSocketEndPoint(Socket), cancel);
                    return new NetworkStream(connection, ownsSocket: true);
                },
            },
        });
        _kv = new KV.KVClient(_channel);
        Start();
    }

    /// <summary>"127.0.0.1:23790"</summary>
    public string Address => string.Create(CultureInfo.InvariantCulture, $"{_listenOn}:{_port}");

    // As etcd makes of "unix://client:1" in its working directory; paths it takes none.
    private string Socket => Path.Combine(_directory, "client:1");

    public void Start()
    {
        string peer = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{_port + 10}");
        File.Delete(Socket);
        _process = _home.Start(
            "env", "-C", _directory, "etcd", "--name", "m", "--data-dir", "data", "--listen-client-urls", $"http://{Address},unix://client:1", "--advertise-client-urls", $"http://{Address}",
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", $"m={peer}", "--logger", "zap", "--log-level", "error");
        Until.True(() => File.Exists(Socket), "etcd listens", () => _process.Output + _process.Error);
    }

    public void Stop()
    {
        _process!.Signal(LinuxProcess.SIGKILL);
        _process.Wait();
        _process.Dispose();
        _process = null;
    }

    public void Put(string key, string value) => _kv.Put(new PutRequest { Key = ByteString.CopyFromUtf8(key), Value = ByteString.CopyFromUtf8(value) }, deadline: ApiClient.Deadline);

    public void Delete(string key) => _kv.DeleteRange(new DeleteRangeRequest { Key = ByteString.CopyFromUtf8(key) }, deadline: ApiClient.Deadline);

    /// <summary>All keys that begin so, with their values, in order.</summary>
    public IReadOnlyList<(string Key, string Value)> List(string prefix)
    {
        byte[] end = System.Text.Encoding.UTF8.GetBytes(prefix);
        end[^1]++;
        RangeResponse found = _kv.Range(new RangeRequest { Key = ByteString.CopyFromUtf8(prefix), RangeEnd = ByteString.CopyFrom(end) }, deadline: ApiClient.Deadline);
        return [.. found.Kvs.Select(k => (k.Key.ToStringUtf8(), k.Value.ToStringUtf8()))];
    }

    /// <summary>Forgets the history of all changes up to now.</summary>
    public void Compact()
    {
        long revision = _kv.Range(new RangeRequest { Key = ByteString.CopyFromUtf8("/") }, deadline: ApiClient.Deadline).Header.Revision;
        _kv.Compact(new CompactionRequest { Revision = revision, Physical = true }, deadline: ApiClient.Deadline);
    }

    /// <summary>Null when there is no such key.</summary>
    public string? Get(string key) => _kv.Range(new RangeRequest { Key = ByteString.CopyFromUtf8(key) }, deadline: ApiClient.Deadline).Kvs.FirstOrDefault()?.Value.ToStringUtf8();

    public void Dispose()
    {
        _channel.Dispose();
        _process?.Dispose();
        Directory.Delete(_directory, recursive: true);
    }
}
