// Two processes, one of which moves messages of so many bytes to the other through a ring in shared memory; both spin. It is
// the same kind of ring as ipcgen's: bytes, published 32 KiB at a time. Prints messages a second.
//
//	mover BYTES MESSAGES RING
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { chunk = 32 << 10 };

struct ring {
	_Alignas(128) atomic_uint tail;
	_Alignas(128) atomic_uint head;
	_Alignas(128) char bytes[];
};

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static void put(struct ring *r, size_t ring, const char *b, size_t n) {
	unsigned tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	while (n > 0) {
		size_t room = ring - (tail - atomic_load_explicit(&r->head, memory_order_acquire));
		size_t at = tail % ring, k = least(least(least(n, room), chunk), ring - at);
		if (k == 0) {
			__builtin_ia32_pause();
			continue;
		}
		memcpy(r->bytes + at, b, k);
		tail += k, b += k, n -= k;
		atomic_store_explicit(&r->tail, tail, memory_order_release);
	}
}

static void take(struct ring *r, size_t ring, char *b, size_t n) {
	unsigned head = atomic_load_explicit(&r->head, memory_order_relaxed);
	while (n > 0) {
		size_t there = atomic_load_explicit(&r->tail, memory_order_acquire) - head;
		size_t at = head % ring, k = least(least(least(n, there), chunk), ring - at);
		if (k == 0) {
			__builtin_ia32_pause();
			continue;
		}
		memcpy(b, r->bytes + at, k);
		head += k, b += k, n -= k;
		atomic_store_explicit(&r->head, head, memory_order_release);
	}
}

int main(int argc, char **argv) {
	if (argc != 4)
		return 2;
	size_t size = atol(argv[1]), messages = atol(argv[2]), ring = atol(argv[3]);
	if (size < 1 || messages < 1 || ring < chunk || (ring & (ring - 1)) != 0)
		return 2;
	struct ring *r = mmap(NULL, sizeof *r + ring, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *message = malloc(size);
	if (r == MAP_FAILED || message == NULL)
		return 1;
	memset(message, 1, size);
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (size_t i = 0; i < messages; i++)
			put(r, ring, message, size);
		_exit(0);
	}
	struct timespec start, end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (size_t i = 0; i < messages; i++)
		take(r, ring, message, size);
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%.1f\n", messages / (end.tv_sec - start.tv_sec + (end.tv_nsec - start.tv_nsec) / 1e9));
	return 0;
}
