using Dataplane.Control.Compiler;
using Dataplane.Interop.Linux;
using Dataplane.Protocol;

namespace Dataplane.Control.Engine;

/// <summary>The connection to the engine process, which <see cref="EngineSupervisor"/> makes and makes again.</summary>
public sealed class EngineLink : IEngineLink, IDisposable
{
    private volatile EngineClient? _client;
    private volatile string? _reason = "the engine has not been started yet";

    public string? WhyUnavailable => _reason;
    public bool IsFailing { get; private set; }

    public IReadOnlyList<AttachedPort> Attached() =>
        Ask(client => (client.Hello().Ports ?? []).Select(p => new AttachedPort(p.Index, p.Name, p.Spec, p.Workers)).ToList());

    public void Attach(int index, string name, DeviceSpec device, IReadOnlyList<int> fds)
    {
        string? mac = device.Kind == DeviceKind.Tap ? device.Mac.ToString() : null;
        Ask(client => client.Attach(index, name, device.EngineSpec, device.Mtu, mac, [.. fds]));
    }

    public void Detach(int index) => Ask(client =>
    {
        if (client.Hello().Ports?.Any(p => p.Index == index) == true)
        {
            client.Detach(index);
        }
        return true;
    });

    public void Assign(int index, int queue, int worker) => Ask(client =>
    {
        client.Assign(index, queue, worker);
        return true;
    });

    public IReadOnlyList<int> Fds(int index) => Ask(client => client.Fds(index));

    public void Dispose() => _client?.Dispose();

    /// <summary>From now on requests go to this engine.</summary>
    internal void Use(EngineClient client)
    {
        _client = client;
        IsFailing = false;
        _reason = null;
    }

    /// <summary>From now on requests are refused.</summary>
    /// <param name="reason">Why, for people.</param>
    /// <param name="failing">Whether it crashes again and again.</param>
    internal void Drop(string reason, bool failing)
    {
        _reason = reason;
        IsFailing = failing;
        Interlocked.Exchange(ref _client, null)?.Dispose();
    }

    private T Ask<T>(Func<EngineClient, T> request)
    {
        if (_reason is { } reason || _client is not { } client)
        {
            throw new EngineUnavailableException(_reason ?? "the engine is not connected");
        }
        try
        {
            return request(client);
        }
        catch (EngineException e) when (!HasEnded(client))
        {
            throw new EngineRefusedException(e.Message);
        }
        catch (Exception e) when (e is EngineException or LinuxException or ObjectDisposedException)
        {
            throw new EngineUnavailableException("the engine ended, or does not answer; it is started again", e);
        }
    }

    /// <summary>Whether the engine closed the connection: then what failed was not the request.</summary>
    private static bool HasEnded(EngineClient client)
    {
        try
        {
            client.Hello();
            return false;
        }
        catch (Exception e) when (e is EngineException or LinuxException or ObjectDisposedException)
        {
            return true;
        }
    }
}
