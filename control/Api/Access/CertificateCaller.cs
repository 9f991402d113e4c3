using System.Security.Cryptography.X509Certificates;

namespace Dataplane.Control.Api.Access;

/// <summary>
/// Callers over TLS. One rule: the role stands in the subject of the client's certificate, as an organisational unit, which
/// is "read-only" or "read-write". A certificate that names none, or both, may do nothing, so one that the same authority
/// issued for something else is of no use here.
/// </summary>
internal static class CertificateCaller
{
    private const string CommonName = "2.5.4.3", OrganizationalUnit = "2.5.4.11";

    /// <summary>The caller with a certificate, which was verified before.</summary>
    public static Caller Of(X509Certificate2 certificate)
    {
        string name = $"certificate CN={Find(certificate, CommonName).FirstOrDefault("(none)")}";
        Role[] roles = [.. Find(certificate, OrganizationalUnit).Select(RoleOf).Where(r => r != Role.None).Distinct()];
        return roles is [var role]
            ? new Caller(name, role, role == Role.ReadOnly ? $"the role of {name} is read-only" : "")
            : new Caller(name, Role.None, $"the subject of {name} has no organisational unit, OU=read-only or OU=read-write, that says what it may do");
    }

    private static Role RoleOf(string unit) => unit switch
    {
        "read-only" => Role.ReadOnly,
        "read-write" => Role.ReadWrite,
        _ => Role.None,
    };

    private static IEnumerable<string> Find(X509Certificate2 certificate, string type) => certificate.SubjectName
        .EnumerateRelativeDistinguishedNames(reversed: false)
        .Where(part => !part.HasMultipleElements && part.GetSingleElementType().Value == type)
        .Select(part => part.GetSingleElementValue())
        .OfType<string>();
}
