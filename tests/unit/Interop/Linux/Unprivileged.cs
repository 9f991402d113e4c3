using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

/// <summary>Runs code as "nobody", on a thread of its own: to the kernel, user ids belong to threads.</summary>
internal static partial class Unprivileged
{
    public const uint Uid = 65534;

    public static void Run(Action action)
    {
        ExceptionDispatchInfo? error = null;
        var thread = new Thread(() =>
        {
            try
            {
                // The C library's setresuid would change all threads of the process; the system call changes this one.
                nint setresuid = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 117 : 147;
                if (syscall(setresuid, (nint)Uid, (nint)Uid, (nint)Uid) != 0)
                    throw new LinuxException(Libc.Errno(), "become nobody");
                action();
            }
            catch (Exception e)
            {
                error = ExceptionDispatchInfo.Capture(e);
            }
        });
        thread.Start();
        thread.Join();
        error?.Throw();
    }

    [LibraryImport("libc")]
    private static partial nint syscall(nint number, nint real, nint effective, nint saved);
}
