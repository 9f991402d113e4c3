using Dataplane.UnitTests.Control;
using Dataplane.UnitTests.Control.Etcd;
using Dataplane.UnitTests.Interop.Linux;
using Dataplane.UnitTests.Tables;

// Tests are run by the test host. Started by itself this is one of the processes that tests kill or look at.
if (args is [StoreWriter.Command, .. var paths])
{
    return StoreWriter.Run(paths);
}
if (args is [EtcdWriter.Command, var server, .. var files])
{
    return EtcdWriter.Run(server, files);
}
if (args is [ConnectionWriter.Command, var segment])
{
    return ConnectionWriter.Run(segment);
}
if (args is [ProcessAffinity.Command, var cpu, var other])
{
    return ProcessAffinity.Run(cpu, other);
}
Console.Error.WriteLine("run the tests with: dotnet test");
return 2;
