using Dataplane.Control.Api.Access;
using Dataplane.Control.Observation;
using Dataplane.Control.Runtime;
using Grpc.HealthCheck;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Dataplane.Control.Api;

/// <summary>Serves the API on a unix socket and, when asked to, over TCP with mutual TLS; nowhere else.</summary>
public sealed class ApiServer : IAsyncDisposable
{
    /// <summary>Calls of one connection at a time. A client that needs more has the others wait.</summary>
    private const int CallsPerConnection = 128;

    private readonly WebApplication _app;

    private ApiServer(WebApplication app)
    {
        _app = app;
    }

    /// <summary>Begins to serve.</summary>
    /// <param name="socket">Path of the socket; its directory exists, a stale socket there is replaced.</param>
    /// <param name="access">Who may use it, how, and how much of it.</param>
    /// <param name="controller">What the API controls.</param>
    /// <param name="counters">Where its counters come from.</param>
    /// <param name="captures">Where its packets come from.</param>
    /// <param name="instance">What it tells of itself.</param>
    /// <param name="stop">Where it hands on the wish to end.</param>
    /// <param name="logging">Where it logs.</param>
    public static async Task<ApiServer> StartAsync(
        string socket, ApiAccess access, Controller controller, CounterReader counters, CaptureHub captures, InstanceInfo instance, StopRequests stop, ILoggerFactory logging)
    {
        File.Delete(socket);
        // The working directory, and all below it, is not watched for settings that change: the state may be in it, and changes all the time.
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ApplicationName = "dataplane", Args = ["--hostBuilder:reloadConfigOnChange=false"] });
        // Nothing in the surroundings (appsettings.json, ASPNETCORE_URLS) makes this listen elsewhere.
        builder.Configuration.Sources.Clear();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.ListenUnixSocket(socket, listen =>
            {
                listen.Protocols = HttpProtocols.Http2;
                listen.Use(next => connection => IntroduceAsync(connection, access.Group?.Id, next));
            });
            if (access.Tcp is { } tcp)
            {
                new TlsListener(tcp, access.Limits, logging.CreateLogger<TlsListener>()).Listen(kestrel);
            }
            kestrel.AddServerHeader = false;
            kestrel.Limits.Http2.MaxStreamsPerConnection = CallsPerConnection;
            kestrel.Limits.MaxRequestBodySize = 2 * CallLimits.LargestMessage;
        });
        builder.Services.AddSingleton(logging);
        builder.Services.AddSingleton(controller);
        builder.Services.AddSingleton(counters);
        builder.Services.AddSingleton(captures);
        builder.Services.AddSingleton(instance);
        builder.Services.AddSingleton(stop);
        builder.Services.AddSingleton(_ => new CallBudgets(access.Limits));
        builder.Services.AddSingleton<AccessControl>();
        builder.Services.AddGrpc(grpc =>
        {
            grpc.MaxReceiveMessageSize = CallLimits.LargestMessage;
            grpc.Interceptors.Add<ErrorInterceptor>();
        });
        builder.Services.AddGrpcReflection();
        builder.Services.AddGrpcHealthChecks().AddCheck("engine", () => controller.Status.WhyUnhealthy is { } reason
            ? HealthCheckResult.Unhealthy(reason)
            : HealthCheckResult.Healthy());
        builder.Services.Configure<HealthCheckPublisherOptions>(health =>
        {
            health.Delay = TimeSpan.Zero;
            health.Period = TimeSpan.FromSeconds(1);
        });

        WebApplication app = builder.Build();
        AccessControl control = app.Services.GetRequiredService<AccessControl>();
        app.Use(control.InvokeAsync);
        app.MapGrpcService<ResourceService>();
        app.MapGrpcService<StatsService>();
        app.MapGrpcService<MacService>();
        app.MapGrpcService<InspectionService>();
        app.MapGrpcService<AdminService>();
        app.MapGrpcReflectionService();
        app.MapGrpcHealthChecksService();

        // Nobody else can connect between bind and chmod: the socket is made with the permissions of this mask.
        using (new FileCreationMask(0b001_111_111))
        {
            await app.StartAsync();
        }
        access.Group?.Give(socket);
        return new ApiServer(app);
    }

    /// <summary>The TCP port it serves on, which the system may have chosen; 0 without TCP.</summary>
    public int TcpPort => _app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()?.Addresses
        .Where(a => a.StartsWith("https:", StringComparison.Ordinal)).Select(a => new Uri(a).Port).FirstOrDefault() ?? 0;

    /// <summary>Ends open calls and stops to serve.</summary>
    public async ValueTask DisposeAsync()
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        await _app.StopAsync(patience.Token);
        await _app.DisposeAsync();
    }

    private static Task IntroduceAsync(ConnectionContext connection, uint? group, ConnectionDelegate next)
    {
        if (connection.Features.Get<IConnectionSocketFeature>()?.Socket is { } socket)
        {
            connection.Features.Set(SocketCaller.Of(socket, group));
        }
        return next(connection);
    }
}
