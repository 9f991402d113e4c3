using Grpc.Core;
using Microsoft.Data.Sqlite;

namespace Dataplane.Control.State.Sqlite;

/// <summary>What SQLite's errors mean to an operator (https://www.sqlite.org/rescode.html).</summary>
internal static class SqliteErrors
{
    private const int Busy = 5, Locked = 6, ReadOnly = 8, Io = 10, Corrupt = 11, Full = 13, CannotOpen = 14, NotADatabase = 26;

    public static StateStoreException OnOpening(string path, Exception error) => error switch
    {
        StateStoreException known => known,
        SqliteException { SqliteErrorCode: Corrupt or NotADatabase } => Damaged(path, error.Message, error),
        SqliteException { SqliteErrorCode: Busy or Locked } => new($"{path} is in use by another process", fix: "end that process", inner: error),
        SqliteException { SqliteErrorCode: Full } => new($"{path}: there is no space left on its file system", fix: "make room", inner: error),
        _ => new StateStoreException($"{path} cannot be opened: {error.Message}", inner: error),
    };

    public static StateStoreException OnSaving(string path, Exception error) => error switch
    {
        SqliteException { SqliteErrorCode: Full } => new(
            $"{path}: there is no space left on its file system", StatusCode.ResourceExhausted, "make room, then repeat the change", error),
        SqliteException { SqliteErrorCode: ReadOnly or CannotOpen } => new(
            $"{path} cannot be written: {error.Message}", StatusCode.FailedPrecondition, "make its directory writable, then repeat the change", error),
        SqliteException { SqliteErrorCode: Io } => new(
            $"{path} cannot be written: {error.Message}", StatusCode.Internal, "look at the file system and the kernel's log", error),
        SqliteException { SqliteErrorCode: Corrupt or NotADatabase } => new(
            $"{path} is damaged: {error.Message}", StatusCode.DataLoss, "end the daemon, then remove the file, and the ports with it, with `dataplane clean`", error),
        _ => new StateStoreException($"{path} cannot be written: {error.Message}", inner: error),
    };

    public static StateStoreException Damaged(string path, string how, Exception? error = null) =>
        new($"{path} is damaged: {how}", StatusCode.DataLoss, "remove it, and the ports with it, with `dataplane clean`", error);
}
