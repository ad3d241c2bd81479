/* A small pool of threads that share out the work-items of one kernel at a time.
 *
 * Each thread has a share of the work-items, which it takes in chunks through an atomic counter; whoever has none left
 * takes from the others. Kernels that follow each other walk their arrays in one order, so that a thread mostly reads what
 * it has written itself: what lies in another core's cache comes as slowly as from memory. Each work-item writes its own
 * results only, so they do not depend on who computes what. A caller that finds the pool at work for another does its own
 * work alone. The threads are daemons: they wait for work and end with the process. A forked child starts with an empty
 * pool of its own.
 */
#if defined(__linux__)
#define _GNU_SOURCE /* for processor sets */
#endif
#include "clconv_native.h"

#if defined(__unix__) || defined(__APPLE__)

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

/* Kernels hold bands of data; some systems give threads 128 KiB only. */
enum { STACK_BYTES = 1 << 21 };

enum { MOST_WORKERS = 1023, CHUNKS_PER_THREAD = 8 };

/* For so many nanoseconds a thread looks for work, or for the end of the others', before it sleeps: to wake it takes as long
 * as a small convolution, and in a network launches and layers follow each other within this time. Whoever looks yields in
 * between to who else would run on its processor. */
#define PATIENCE 500000

enum { CACHE_LINE = 64 };

struct share {
    _Atomic int64_t next;
    int64_t end;
    char apart[CACHE_LINE - 2 * sizeof(int64_t)]; /* from the counter of the next thread */
};

struct job {
    struct share shares[MOST_WORKERS]; /* the caller is a thread, too, and there are no more in all */
    clconv_function function; /* what follows is only read while threads count */
    const union clconv_argument *arguments;
    int64_t chunk;
    int threads;
};

static pthread_mutex_t busy = PTHREAD_MUTEX_INITIALIZER;  /* held by the caller whose job runs */
static pthread_mutex_t state = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static pthread_cond_t work_is_there = PTHREAD_COND_INITIALIZER;
static pthread_cond_t work_is_done = PTHREAD_COND_INITIALIZER;
static struct job job;
static _Atomic unsigned long generation; /* counts the jobs */
static int workers;              /* threads started */
static int wanted;               /* how many of them may take part in this job */
static int is_open;              /* whether they still may */
static _Atomic int working;      /* how many of them do */
static pthread_once_t fork_handler = PTHREAD_ONCE_INIT;

#if defined(__linux__)

static pthread_t threads_of_workers[MOST_WORKERS];
static cpu_set_t elsewhere; /* the processors that workers run on */
static int avoiding;        /* how many of them do */

/* Schedulers tend to wake a worker where its caller runs, and to leave it there for milliseconds, although others are idle:
 * so workers may run anywhere else, if that leaves one for each. Called with `state` held. */
static void keep_away_from_caller(void)
{
    cpu_set_t allowed;
    const int here = sched_getcpu();
    if (here < 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    if (CPU_COUNT(&allowed) > workers) CPU_CLR(here, &allowed);
    if (workers == avoiding && CPU_EQUAL(&allowed, &elsewhere)) return;
    for (int i = 0; i < workers; i++) pthread_setaffinity_np(threads_of_workers[i], sizeof allowed, &allowed);
    elsewhere = allowed;
    avoiding = workers;
}

#else
static void keep_away_from_caller(void) {}
#endif

/* Takes this thread's share of the job, and then what is left of the others'. */
static void work_on_job(const int thread)
{
    for (int other = 0; other < job.threads; other++) {
        struct share *share = &job.shares[(thread + other) % job.threads];
        for (;;) {
            const int64_t begin = atomic_fetch_add(&share->next, job.chunk);
            if (begin >= share->end) break;
            const int64_t end = share->end - begin < job.chunk ? share->end : begin + job.chunk;
            job.function(job.arguments, begin, end);
        }
    }
}

static int64_t nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * (int64_t)1000000000 + now.tv_nsec;
}

/* Returns when there is another job than the one seen last; called, and returns, with `state` held. */
static void await_job(const unsigned long seen)
{
    pthread_mutex_unlock(&state);
    for (const int64_t end = nanoseconds() + PATIENCE; atomic_load(&generation) == seen && nanoseconds() < end;)
        sched_yield();
    pthread_mutex_lock(&state);
    while (generation == seen) pthread_cond_wait(&work_is_there, &state);
}

static void *worker(void *start)
{
    const int rank = (int)(intptr_t)start;
    /* The generation that started this thread is the first one that it works on. */
    pthread_mutex_lock(&state);
    unsigned long seen = generation - 1;
    for (;;) {
        if (generation == seen) await_job(seen);
        seen = generation;
        if (rank >= wanted || !is_open) continue;
        working++;
        pthread_mutex_unlock(&state);
        work_on_job(rank + 1);
        pthread_mutex_lock(&state);
        if (--working == 0) pthread_cond_signal(&work_is_done);
    }
    return 0;
}

/* Only the forking thread lives on in the child: whatever the others held or did there is gone. */
static void empty_pool_of_child(void)
{
    pthread_mutex_init(&busy, 0);
    pthread_mutex_init(&state, 0);
    pthread_cond_init(&work_is_there, 0);
    pthread_cond_init(&work_is_done, 0);
    workers = 0;
    is_open = 0;
    working = 0;
#if defined(__linux__)
    avoiding = 0;
#endif
}

static void install_fork_handler(void) { pthread_atfork(0, 0, empty_pool_of_child); }

/* Starts threads until there are `count`, or as many as the system gives; called with `state` held. */
static void start_workers(const int count)
{
    sigset_t all, previous;
    pthread_attr_t attributes;
    if (workers >= count || pthread_attr_init(&attributes) != 0) return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    while (workers < count) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, worker, (void *)(intptr_t)workers) != 0) break;
#if defined(__linux__)
        threads_of_workers[workers] = thread;
#endif
        workers++;
    }
    pthread_sigmask(SIG_SETMASK, &previous, 0);
    pthread_attr_destroy(&attributes);
}

void clconv_run(clconv_function function, const union clconv_argument *arguments, const int64_t items, int threads)
{
    if (threads > items) threads = (int)items;
    if (threads > MOST_WORKERS) threads = MOST_WORKERS;
    if (threads <= 1 || pthread_mutex_trylock(&busy) != 0) {
        function(arguments, 0, items);
        return;
    }
    pthread_once(&fork_handler, install_fork_handler);
    pthread_mutex_lock(&state);
    job.function = function;
    job.arguments = arguments;
    job.chunk = (items - 1) / ((int64_t)threads * CHUNKS_PER_THREAD) + 1;
    job.threads = threads;
    for (int64_t thread = 0, begin = 0; thread < threads; thread++) {
        atomic_store(&job.shares[thread].next, begin);
        begin += (items - begin) / (threads - thread);
        job.shares[thread].end = begin;
    }
    generation++;
    start_workers(threads - 1);
    keep_away_from_caller();
    wanted = threads - 1;
    is_open = 1;
    pthread_cond_broadcast(&work_is_there);
    pthread_mutex_unlock(&state);

    work_on_job(0);

    /* All items are taken. A worker that has not come yet, because others have its processor, is not waited for. */
    pthread_mutex_lock(&state);
    is_open = 0;
    pthread_mutex_unlock(&state);
    for (const int64_t end = nanoseconds() + PATIENCE; atomic_load(&working) > 0 && nanoseconds() < end;)
        sched_yield();
    pthread_mutex_lock(&state);
    while (working > 0) pthread_cond_wait(&work_is_done, &state);
    pthread_mutex_unlock(&state);
    pthread_mutex_unlock(&busy);
}

#else /* no pthreads: the caller's thread does it all */

void clconv_run(clconv_function function, const union clconv_argument *arguments, const int64_t items, int threads)
{
    (void)threads;
    function(arguments, 0, items);
}

#endif
