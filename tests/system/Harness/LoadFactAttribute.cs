namespace Dataplane.SystemTests.Harness;

/// <summary>A test that wants some processors for itself, skipped unless it is asked for: <c>DATAPLANE_LOAD_TESTS=1 ./build.sh test system</c>.</summary>
internal sealed class LoadFactAttribute : FactAttribute
{
    public LoadFactAttribute()
    {
        if (Environment.GetEnvironmentVariable("DATAPLANE_LOAD_TESTS") != "1")
        {
            Skip = "wants processors for its clients and servers: DATAPLANE_LOAD_TESTS=1 ./build.sh test system";
        }
    }
}
