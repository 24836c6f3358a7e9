// Two processes that send each other messages of so many bytes through shared memory, and spin while they wait: what no
// call between processes can be faster than. Prints the median round trip in nanoseconds, of rounds of 100.
//
//	pingpong BYTES ROUNDS
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

enum { most = 1 << 20, batch = 100 };

struct side {
	_Alignas(128) atomic_uint sent;
	_Alignas(128) char message[most];
};

static char buffer[most];

static void send_message(struct side *to, unsigned n, int size) {
	memcpy(to->message, buffer, size);
	atomic_store_explicit(&to->sent, n, memory_order_release);
}

static void receive(struct side *from, unsigned n, int size) {
	while (atomic_load_explicit(&from->sent, memory_order_acquire) != n)
		__builtin_ia32_pause();
	memcpy(buffer, from->message, size);
}

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv) {
	if (argc != 3)
		return 2;
	int size = atoi(argv[1]), rounds = atoi(argv[2]);
	if (size < 1 || size > most || rounds < 1)
		return 2;
	struct side *sides = mmap(NULL, 2 * sizeof *sides, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sides == MAP_FAILED)
		return 1;
	unsigned total = (unsigned)rounds * batch;
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (unsigned n = 1; n <= total; n++) {
			receive(&sides[0], n, size);
			send_message(&sides[1], n, size);
		}
		_exit(0);
	}
	double *took = malloc(rounds * sizeof *took);
	unsigned n = 0;
	for (int r = 0; r < rounds; r++) {
		double start = now();
		for (int i = 0; i < batch; i++) {
			send_message(&sides[0], ++n, size);
			receive(&sides[1], n, size);
		}
		took[r] = (now() - start) / batch;
	}
	qsort(took, rounds, sizeof *took, ascending);
	printf("%.1f\n", took[rounds / 2]);
	return 0;
}
