"""Compiles the kernel files into the native extension; everything else is in pyproject.toml.

For every define set in clconv/native/table.py and every level of the processor, one C file is generated that includes
the kernel file and wraps each kernel in a loop over work-items. Without a compiler the package is installed without the
extension, with the reason in clconv/native/not_built.txt.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
LONGEST_REASON = 200  # of a failed build, in characters


def load(path):
    """Load one of the package's modules that need the standard library only, without importing the package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kernel_source = load("clconv/kernel_source.py")
table = load("clconv/native/table.py")


def levels():
    """Return the processor levels to compile for, with their options: all, or those that CLCONV_BUILD_LEVELS names."""
    named = os.environ.get("CLCONV_BUILD_LEVELS", "").split() or list(table.LEVELS)
    unknown = [name for name in named if name not in table.LEVELS]
    if unknown:
        raise RuntimeError(f"CLCONV_BUILD_LEVELS takes names out of {' '.join(table.LEVELS)}, not {' '.join(unknown)}")
    return {name: table.LEVELS[name] for name in named}


def field_of(parameter):
    """Return the field of union clconv_argument that holds a kernel's parameter."""
    return "array" if parameter.is_array else "real" if parameter.type == "real" else "number"


def wrapper(file, defines, level):
    """Return the C file that compiles a kernel file with one define set, and what it adds to the registry."""
    suffix = "__".join([Path(file).stem, *(f"{name}_{value}" for name, value in defines), level])
    lines = [f"#define {name} {value}" for name, value in defines]
    lines += [f'#include "{file}"', '#include "clconv_native.h"', ""]
    entries = []
    for kernel, parameters in kernel_source.signatures(file).items():
        function = f"clconv__{kernel}__{suffix}"
        values = [f"a[{i}].{field_of(parameter)}" for i, parameter in enumerate(parameters)]
        lines += [
            f"void {function}(const union clconv_argument *a, int64_t begin, int64_t end)",
            "{",
            f"    for (int64_t item = begin; item < end; item++) {kernel}(item, {', '.join(values)});",
            "}",
        ]
        entries.append((f"{file} {kernel} {table.defines_text(defines)}", level, function))
    return suffix, "\n".join(lines) + "\n", entries


def registry(entries):
    """Return the C file that lists all compiled kernels."""
    lines = ['#include "clconv_native.h"', ""]
    lines += [f"void {function}(const union clconv_argument *, int64_t, int64_t);" for _, _, function in entries]
    lines += ["", "const struct clconv_kernel clconv_kernels[] = {"]
    lines += [f'    {{"{key}", "{level}", {function}}},' for key, level, function in entries]
    lines += ["};", f"const int clconv_kernel_count = {len(entries)};"]
    lines += [f'const char clconv_sources_hash[] = "{kernel_source.sources_hash()}";']
    return "\n".join(lines) + "\n"


class BuildKernels(build_ext):
    """Compiles the kernels of every level before the extension that they are linked into."""

    def run(self):
        """Build the extension, or leave word why there is none."""
        # Always anew: files that were renamed or removed, and this one, change what is compiled, too.
        self.force = True
        library = Path(self.get_ext_fullpath("clconv.native._native"))
        note = library.parent / "not_built.txt"
        for stale in (library, note):
            stale.unlink(missing_ok=True)
        try:
            super().run()
        except Exception as error:
            note.parent.mkdir(parents=True, exist_ok=True)
            reason = " ".join(str(error).split())
            if len(reason) > LONGEST_REASON:  # a command: the compiler is at its head, what it said at its tail
                reason = f"{reason[: LONGEST_REASON // 2]} ... {reason[-LONGEST_REASON // 2 :]}"
            note.write_text(f"{reason}; install a C compiler and clconv again\n", encoding="utf-8")
            print(f"clconv: the native extension was not built: {error}")

    def build_extension(self, extension):
        """Generate and compile the kernels, then build the extension with them."""
        if self.compiler.compiler_type == "msvc":
            raise RuntimeError("MSVC (cl.exe) has no vector extensions; the kernels need gcc or clang")
        generated = Path(self.build_temp) / "kernels"
        shutil.rmtree(generated, ignore_errors=True)
        generated.mkdir(parents=True)
        include = [str(kernel_source.folder()), str(ROOT / "clconv" / "native")]
        jobs, entries = [], []
        for file in table.DEFINE_SETS:
            for level, options in levels().items():
                for defines in table.define_sets_at(level, file):
                    name, text, added = wrapper(file, defines, level)
                    (generated / f"{name}.c").write_text(text, encoding="utf-8")
                    jobs.append((str(generated / f"{name}.c"), list(options)))
                    entries += added
        (generated / "registry.c").write_text(registry(entries), encoding="utf-8")
        jobs.append((str(generated / "registry.c"), []))

        def compile_one(job):
            source, options = job
            return self.compiler.compile(
                [source], output_dir=self.build_temp, include_dirs=include, extra_postargs=[*table.OPTIONS, *options]
            )

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            objects = [name for names in threads.map(compile_one, jobs) for name in names]
        extension.extra_objects = objects
        super().build_extension(extension)


class CopyKernels(build_py):
    """Ships the kernel files inside the package, where an installed clconv looks for them."""

    def run(self):
        """Copy the package, then the kernels; an editable install reads them from the checkout."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "clconv" / "kernels"
            shutil.rmtree(target, ignore_errors=True)  # files that an earlier build copied may be gone
            shutil.copytree(kernel_source.folder(), target)


setup(
    ext_modules=[
        Extension(
            "clconv.native._native",
            ["clconv/native/_native.pyx", "clconv/native/pool.c", "clconv/native/levels.c"],
            include_dirs=["clconv/native"],
            depends=["clconv/native/clconv_native.h", *map(str, sorted((ROOT / "kernels").rglob("*")))],
            extra_compile_args=["-O2"],
            extra_link_args=["-pthread"] if os.name == "posix" else [],
        )
    ],
    exclude_package_data={"clconv.native": ["_native.c"]},  # generated, and full of this machine's paths
    cmdclass={"build_ext": BuildKernels, "build_py": CopyKernels},
)
