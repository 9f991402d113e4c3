using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

/// <summary>A test that makes kernel objects only root may make; skipped, and reported as such, for anybody else.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class RootFactAttribute : FactAttribute
{
    public RootFactAttribute()
    {
        if (LinuxProcess.EffectiveUserId != 0)
            Skip = "needs root";
    }
}
