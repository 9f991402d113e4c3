using Microsoft.Data.Sqlite;

namespace Dataplane.UnitTests.Control;

/// <summary>What happens to a store's file while nobody has it open.</summary>
internal static class StoreFiles
{
    /// <summary>Runs SQL on the file; gives the first value of its result.</summary>
    public static object? Sql(string path, string sql)
    {
        using var connection = new SqliteConnection($"Data Source={path};Pooling=False");
        connection.Open();
        using SqliteCommand command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }

    public static void Resize(string path, long length)
    {
        using FileStream file = File.OpenWrite(path);
        file.SetLength(length);
    }

    public static void Overwrite(string path, long offset, byte[] bytes)
    {
        using FileStream file = File.OpenWrite(path);
        file.Position = offset;
        file.Write(bytes);
    }

    /// <summary>Asks something of a thing that is needed for nothing else.</summary>
    public static TResult Using<T, TResult>(this T thing, Func<T, TResult> ask)
        where T : IDisposable
    {
        using (thing)
        {
            return ask(thing);
        }
    }
}
