using System.Globalization;
using Dataplane.Control.State;

namespace Dataplane.Control.Api.Access;

/// <summary>Ends calls that gRPC has not seen yet: a response without a body, whose headers are the status ("trailers-only").</summary>
internal static class Rpc
{
    /// <param name="call">The call.</param>
    /// <param name="problem">Why.</param>
    /// <param name="retryAfter">When trying again makes sense (gRPC A6, server push-back).</param>
    public static void Refuse(HttpContext call, ProblemException problem, TimeSpan? retryAfter = null)
    {
        call.Response.ContentType = "application/grpc";
        IHeaderDictionary headers = call.Response.Headers;
        headers["grpc-status"] = ((int)problem.Code).ToString(CultureInfo.InvariantCulture);
        // Everything but plain ASCII is percent-encoded, as the protocol has it.
        headers["grpc-message"] = Uri.EscapeDataString(problem.Message);
        headers[Errors.DetailsTrailer] = Convert.ToBase64String(Errors.Details(problem));
        if (retryAfter is { } later)
        {
            headers["grpc-retry-pushback-ms"] = ((long)Math.Ceiling(later.TotalMilliseconds)).ToString(CultureInfo.InvariantCulture);
        }
    }
}
