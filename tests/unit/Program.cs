using Dataplane.UnitTests.Control;

// Tests are run by the test host. Started by itself this is one of the processes that tests kill.
if (args is [StoreWriter.Command, .. var paths])
{
    return StoreWriter.Run(paths);
}
Console.Error.WriteLine("run the tests with: dotnet test");
return 2;
