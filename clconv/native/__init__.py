"""The native executor: the kernel files compiled by the host's C compiler, on a thread pool of their own."""
