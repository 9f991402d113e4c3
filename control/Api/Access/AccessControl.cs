using System.Threading.RateLimiting;
using Dataplane.Control.State;
using Grpc.Core;
using Microsoft.AspNetCore.Http.Features;

namespace Dataplane.Control.Api.Access;

/// <summary>
/// Stands before every call, and lets it pass if its caller may make it and has not had its share. It decides before a byte
/// of the request is read.
/// </summary>
internal sealed partial class AccessControl(CallBudgets budgets, ILogger<AccessControl> log)
{
    private static readonly string TooLarge =
        $"the request is larger than {CallLimits.LargestMessage / (1024 * 1024)} MiB; make smaller batches, or send them with Resources.Push";

    public async Task InvokeAsync(HttpContext call, RequestDelegate next)
    {
        Caller caller = call.Features.Get<Caller>() ?? new Caller("an unknown caller", Role.None, "nothing is known about the connection");
        string method = call.Request.Path.Value ?? "";
        MethodRule rule = MethodRules.Of(method);
        if (caller.Role < rule.Needs)
        {
            LogRefused(method, caller.Name, caller.Why);
            Rpc.Refuse(call, new ProblemException(StatusCode.PermissionDenied, $"{method.Trim('/')} is not permitted: {caller.Why}"));
            return;
        }
        using RateLimitLease? change = rule is { Needs: Role.ReadWrite, Streams: false } ? budgets.TakeChange(caller) : null;
        if (change is { IsAcquired: false })
        {
            TimeSpan later = CallBudgets.RetryAfter(change);
            Rpc.Refuse(
                call, new ProblemException(StatusCode.ResourceExhausted, $"{caller.Name} makes more than {budgets.Limits.ChangesPerSecond} changing calls per second",
                    $"put more resources into each call, or try again in {later.TotalMilliseconds:0} ms"), later);
            return;
        }
        using RateLimitLease? stream = rule.Streams ? budgets.TakeStream(caller) : null;
        if (stream is { IsAcquired: false })
        {
            Rpc.Refuse(
                call, new ProblemException(StatusCode.ResourceExhausted, $"{caller.Name} has {budgets.Limits.Streams} streams open", "end one first"), TimeSpan.FromSeconds(1));
            return;
        }
        await next(call);
        Explain(call);
    }

    /// <summary>gRPC's own refusal of a large message says neither how large it may be nor what to do.</summary>
    private static void Explain(HttpContext call)
    {
        IHeaderDictionary? status = call.Response.HasStarted ? call.Features.Get<IHttpResponseTrailersFeature>()?.Trailers : call.Response.Headers;
        if (status is { IsReadOnly: false } && status["grpc-message"].ToString().StartsWith("Received message exceeds the maximum", StringComparison.Ordinal))
        {
            status["grpc-message"] = TooLarge;
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Refused {Method} to {Caller}: {Why}")]
    private partial void LogRefused(string method, string caller, string why);
}
