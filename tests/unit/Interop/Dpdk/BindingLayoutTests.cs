using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;
using Dataplane.Interop.Dpdk;

namespace Dataplane.UnitTests.Interop.Dpdk;

/// <summary>
/// The generated bindings against the C compiler: by reflection over everything generated a C program is written that
/// prints what the installed headers say (sizes, offsets, bit patterns of bit-fields, constants), line for line in the
/// form in which this side prints its own.
/// </summary>
public sealed partial class BindingLayoutTests
{
    /// <summary>The structs that C gives no size: handles.</summary>
    private static readonly Type[] Opaque = [typeof(rte_mempool), typeof(rte_ring)];

    private static readonly Type[] Structs =
    [
        .. typeof(Shim).Assembly.GetTypes().Where(type =>
            type is { IsValueType: true, IsNested: false, Namespace: "Dataplane.Interop.Dpdk" } &&
            (type.Name.StartsWith("rte_", StringComparison.Ordinal) || type.Name.StartsWith("dps_", StringComparison.Ordinal)) &&
            !Opaque.Contains(type)),
    ];

    private static readonly FieldInfo[] Constants =
    [
        .. new[] { typeof(Shim), typeof(Rte) }.SelectMany(type => type.GetFields(BindingFlags.Public | BindingFlags.Static))
            .Where(field => field.IsLiteral),
    ];

    [Fact]
    public void EverySizeOffsetBitFieldAndConstantIsWhatCSays()
    {
        var expected = new List<string>();
        var program = new StringBuilder("""
            #include <stddef.h>
            #include <stdio.h>
            #include <string.h>
            #include <rte_mbuf.h>
            #include "dpshim.h"
            static void dump(const char *name, const void *bytes, size_t size) {
                printf("%s ", name);
                for (size_t i = 0; i < size; i++) printf("%02X", ((const unsigned char *)bytes)[i]);
                printf("\n");
            }
            int main(void) {

            """);
        foreach (var type in Structs)
        {
            Print(type.Name, $"sizeof(struct {type.Name})", SizeOf(type));
            Walk(type, type, "", 0);
        }
        foreach (var constant in Constants)
            Print(constant.Name, constant.Name, Convert.ToUInt64(constant.GetRawConstantValue()));
        program.AppendLine("return 0; }");

        Assert.Equal(expected, Compile(program.ToString()).Split('\n', StringSplitOptions.RemoveEmptyEntries));
        // Not an empty comparison: the packet buffer alone has more fields, and its flags more constants.
        Assert.True(Structs.Length >= 8 && expected.Count > 150, $"{Structs.Length} structs, {expected.Count} lines");

        void Print(string name, string expression, ulong value)
        {
            expected.Add($"{name} {value}");
            program.AppendLine($"printf(\"{name} %llu\\n\", (unsigned long long)({expression}));");
        }

        // Fields of a struct or union, and of those inside it. An unnamed one adds nothing to the path of its members.
        void Walk(Type top, Type type, string prefix, ulong start)
        {
            foreach (var field in type.GetFields(BindingFlags.Public | BindingFlags.Instance))
            {
                var offset = start + OffsetOf(type, field);
                if (field.Name.StartsWith("_bitfield", StringComparison.Ordinal)) continue;
                var unnamed = field.Name.StartsWith("Anonymous", StringComparison.Ordinal);
                var path = prefix + field.Name;
                if (!unnamed)
                {
                    Print($"{top.Name}.{path}", $"offsetof(struct {top.Name}, {path})", offset);
                    Print($"{top.Name}.{path} size", $"sizeof(((struct {top.Name} *)0)->{path})", SizeOf(field.FieldType));
                }
                if (field.FieldType.IsNested && field.FieldType.GetCustomAttribute<InlineArrayAttribute>() is null)
                    Walk(top, field.FieldType, unnamed ? prefix : path + ".", offset);
            }
            if (type.GetFields().Any(field => field.Name.StartsWith("_bitfield", StringComparison.Ordinal)))
                BitFields(top, type, prefix, start);
        }

        // A bit-field has no offset: the bits that are set when it is all ones, and cleared when it is zero, show its place.
        void BitFields(Type top, Type type, string prefix, ulong start)
        {
            foreach (var property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance))
            {
                if (!property.CanWrite) continue;
                var ones = property.PropertyType.GetField("MaxValue")!.GetRawConstantValue()!;
                var zero = Activator.CreateInstance(property.PropertyType)!;
                var path = prefix + property.Name;
                foreach (var (background, value) in new[] { (0x00, ones), (0xFF, zero) })
                {
                    var bytes = new byte[SizeOf(top)];
                    Array.Fill(bytes, (byte)background);
                    var boxed = Activator.CreateInstance(type)!;
                    var inner = Bytes(boxed, (int)SizeOf(type));
                    inner.Fill((byte)background);
                    property.SetValue(boxed, value);
                    inner.CopyTo(bytes.AsSpan((int)start));
                    expected.Add($"{top.Name}.{path} bits {Convert.ToHexString(bytes)}");
                    program.AppendLine($"{{ struct {top.Name} s; memset(&s, {background}, sizeof(s)); s.{path} = {(background == 0 ? -1 : 0)}; dump(\"{top.Name}.{path} bits\", &s, sizeof(s)); }}");

                    var width = bytes.Sum(part => int.PopCount(part ^ background));
                    Assert.Equal(background == 0 ? (1UL << width) - 1 : 0, Convert.ToUInt64(property.GetValue(boxed)));
                }
            }
        }
    }

    [Fact]
    public void EveryFunctionOfTheHeaderIsBoundAndExported()
    {
        var header = File.ReadAllText(Path.Combine(Shell.RepositoryRoot(), "native", "dpshim.h"));
        var declared = DeclaredFunction().Matches(header).Select(match => match.Groups[1].Value).Order().ToList();
        var bound = typeof(Shim).GetMethods(BindingFlags.Public | BindingFlags.Static)
            .Where(method => method.GetCustomAttribute<DllImportAttribute>() is not null).Select(method => method.Name).Order().ToList();

        Assert.NotEmpty(declared);
        Assert.Equal(declared, bound);
        Assert.Equal(bound, LayoutCheck.Functions.Order());
        Assert.All(bound, name => Assert.True(NativeLibrary.TryGetExport(DpdkLibrary.Handle, name, out _), name));
    }

    [Fact]
    public void EveryImportIsBlittable()
    {
        foreach (var method in typeof(Shim).GetMethods(BindingFlags.Public | BindingFlags.Static))
        {
            if (method.GetCustomAttribute<DllImportAttribute>() is null) continue;
            var types = method.GetParameters().Select(parameter => parameter.ParameterType).Append(method.ReturnType);
            Assert.All(types, type => Assert.True(type.IsPointer || type.IsPrimitive || type == typeof(void), $"{method.Name}: {type}"));
        }
    }

    [Fact]
    public void TheLayoutCheckKnowsEveryFieldOfEveryStructOfTheShim()
    {
        var generated = Structs.Where(type => type.Name.StartsWith("dps_", StringComparison.Ordinal))
            .SelectMany(type => type.GetFields(BindingFlags.Public | BindingFlags.Instance).Select(field => $"{type.Name}.{field.Name}").Append(type.Name));

        Assert.Empty(generated.Except(LayoutCheck.Managed().Select(entry => entry.Name)));
    }

    /// <summary>Compiles a C program against the installed headers and returns what it prints.</summary>
    private static string Compile(string program)
    {
        var directory = Shell.TemporaryDirectory();
        try
        {
            var source = Path.Combine(directory, "layout.c");
            var executable = Path.Combine(directory, "layout");
            File.WriteAllText(source, program);
            Shell.Run("gcc", ["-w", .. Shell.DpdkFlags(), "-I", Path.Combine(Shell.RepositoryRoot(), "native"), source, "-o", executable]);
            return Shell.Run(executable);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    // What the running program uses, which is not what the Marshal class computes for marshalled structs.
    private static ulong SizeOf(Type type)
    {
        var method = new DynamicMethod("SizeOf", typeof(uint), null);
        var code = method.GetILGenerator();
        code.Emit(OpCodes.Sizeof, type);
        code.Emit(OpCodes.Ret);
        return method.CreateDelegate<Func<uint>>()();
    }

    private static ulong OffsetOf(Type type, FieldInfo field)
    {
        var method = new DynamicMethod("OffsetOf", typeof(uint), null);
        var code = method.GetILGenerator();
        var local = code.DeclareLocal(type);
        code.Emit(OpCodes.Ldloca, local);
        code.Emit(OpCodes.Ldflda, field);
        code.Emit(OpCodes.Conv_U);
        code.Emit(OpCodes.Ldloca, local);
        code.Emit(OpCodes.Conv_U);
        code.Emit(OpCodes.Sub);
        code.Emit(OpCodes.Conv_U4);
        code.Emit(OpCodes.Ret);
        return method.CreateDelegate<Func<uint>>()();
    }

    /// <summary>The bytes of a struct in its box; they begin where those of any boxed object's fields do.</summary>
    private static Span<byte> Bytes(object boxed, int size) =>
        MemoryMarshal.CreateSpan(ref Unsafe.As<StrongBox<byte>>(boxed).Value, size);

    [GeneratedRegex(@"^[a-z][\w *]*?\b(dps_\w+)\(", RegexOptions.Multiline)]
    private static partial Regex DeclaredFunction();
}
