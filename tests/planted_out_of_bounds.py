"""A kernel that writes one element past its array: run under oclgrind, it must leave a word in the log."""

import numpy as np
import pyopencl as cl

context = cl.Context([device for platform in cl.get_platforms() for device in platform.get_devices()][:1])
queue = cl.CommandQueue(context)
source = "kernel void planted(global float *y) { y[get_global_id(0) + 1] = 1; }"
program = cl.Program(context, source).build(cache_dir=False)
buffer = cl.Buffer(context, cl.mem_flags.READ_WRITE, 4 * np.dtype("float32").itemsize)
program.planted(queue, (4,), None, buffer)
queue.finish()
