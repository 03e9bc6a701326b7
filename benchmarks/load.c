/* The load client: reads N streams in one thread as fast as the kernel delivers them.
 *
 *   load HOST PORT PATH CLIENTS IN_FLIGHT SOURCES [HEADERS]
 *
 * Opens CLIENTS connections, at most IN_FLIGHT of them without a first byte at a time, from
 * SOURCES addresses of 127.0.0.0/8, and prints a line of JSON when each has a first frame, was
 * refused, or 60 s are over. Then it reads commands from stdin: `start` begins to count, `stop`
 * prints the counts, and the end of stdin ends the client. HEADERS is a file with one additional
 * header line for the request of each client, such as a cookie.
 *
 * A message ends with an empty line. A frame is a message with `"started_at":` and
 * `"elapsed_ms":` in it: their sum is the time of its state. `@` and a number, somewhere before
 * them, is the time of a writer's report. benchmarks/load.py does the same, slower.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif
#define BUFFER (256 * 1024)
#define CARRY_MAX (64 * 1024)
#define BUCKETS 2400 /* 1 % wide, from 1 µs to some hours */
#define PATIENCE 60.0

typedef struct { unsigned long n[BUCKETS]; unsigned long total; double max; } histogram;

typedef struct {
    int fd;
    int state; /* 0 connecting, 1 waiting for headers, 2 streaming, 3 closed, 4 failed */
    int has_frame;
    double since;
    double first;
    unsigned long frames;
    char *carry;
    int carried;
} client;

static client *clients;
static int count, in_flight_max, sources, in_flight, opened, closed, failed, with_frame, refused;
static int epoll_fd, counting, is_ready;
static unsigned long frames, messages;
static unsigned long long bytes;
static double started_at, cpu_at;
static histogram ages, writes;
static struct sockaddr_in target;
static char request[4096], *buffer;
static size_t request_size; /* without the lines that differ between clients */
static FILE *headers;
static double began;

static double now(clockid_t which) {
    struct timespec t;
    clock_gettime(which, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void) { return now(CLOCK_PROCESS_CPUTIME_ID); }

static void add(histogram *h, double seconds) {
    double us = seconds * 1e6;
    int bucket = us <= 1 ? 0 : (int)(log(us) * 100);
    if (bucket >= BUCKETS) bucket = BUCKETS - 1;
    h->n[bucket]++;
    h->total++;
    if (seconds > h->max) h->max = seconds;
}

static double quantile(const histogram *h, double q) {
    unsigned long rank = (unsigned long)ceil(q * h->total), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += h->n[i]) >= rank && seen) return exp((i + 0.5) / 100) / 1e3;
    return 0;
}

static void print_histogram(const char *name, const histogram *h) {
    if (!h->total) { printf("\"%s\": null", name); return; }
    printf("\"%s\": {\"count\": %lu, \"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"max\": %.3f}", name,
           h->total, quantile(h, .5), quantile(h, .9), quantile(h, .99), h->max * 1e3);
}

static void end(client *c, int state) {
    if (c->state < 2) in_flight--;
    if (c->state < 3) close(c->fd);
    if (state == 4) failed++; else closed++;
    c->state = state;
    free(c->carry);
    c->carry = NULL;
    c->carried = 0;
}

static void open_one(client *c, int index) {
    struct sockaddr_in from = {.sin_family = AF_INET};
    int on = 1, size = BUFFER;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    c->since = now(CLOCK_MONOTONIC);
    in_flight++;
    if (c->fd < 0) { c->state = 3; in_flight--; failed++; return; }
    setsockopt(c->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    from.sin_addr.s_addr = htonl(0x7f000002u + index % sources);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) { end(c, 4); return; }
    if (connect(c->fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS) {
        end(c, 4);
        return;
    }
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

/* Adds the header line of the next client. */
static void complete_request(void) {
    char line[1024] = "";
    if (headers && !fgets(line, sizeof line, headers)) line[0] = 0;
    snprintf(request + request_size, sizeof request - request_size, "%s\r\n", line);
}

static void message(client *c, const char *at, size_t length, double received) {
    static const char started[] = "\"started_at\":", elapsed[] = "\"elapsed_ms\":";
    const char *a = memmem(at, length, started, sizeof started - 1), *e;
    if (counting) messages++;
    if (!a || !(e = memmem(a, at + length - a, elapsed, sizeof elapsed - 1))) return;
    if (!c->has_frame) {
        c->has_frame = 1;
        c->first = now(CLOCK_MONOTONIC) - c->since;
        with_frame++;
    }
    if (!counting) return;
    frames++;
    c->frames++;
    add(&ages, received - strtod(a + sizeof started - 1, NULL) - strtod(e + sizeof elapsed - 1, NULL) / 1e3);
    const char *w = memchr(at, '@', a - at);
    if (w) add(&writes, received - strtod(w + 1, NULL));
}

/* Parses the carried and the received bytes message by message; carries the rest. */
static void parse(client *c, char *data, size_t length, double received) {
    char *at = data, *stop = data + length, *next;
    if (c->state == 1) {
        if (!(next = memmem(data, length, "\r\n\r\n", 4))) goto carry;
        if (length < 12 || memcmp(data + 8, " 200", 4)) { refused++; end(c, 4); return; }
        c->state = 2;
        in_flight--;
        at = next + 4;
    }
    while ((next = memmem(at, stop - at, "\n\n", 2))) {
        message(c, at, next - at, received);
        at = next + 2;
    }
carry:
    c->carried = stop - at > CARRY_MAX ? 0 : stop - at;
    if (c->carried) {
        c->carry = realloc(c->carry, c->carried);
        memcpy(c->carry, at, c->carried);
    }
}

static void on_event(client *c, unsigned events) {
    if (c->state >= 3) return;
    if (c->state == 0) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        complete_request();
        if (error || send(c->fd, request, strlen(request), MSG_NOSIGNAL) < 0) { end(c, 4); return; }
        c->state = 1;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
        return;
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    memcpy(buffer, c->carry, c->carried);
    ssize_t got = recv(c->fd, buffer + c->carried, BUFFER - c->carried, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { end(c, c->state == 2 ? 3 : 4); return; }
    if (counting) bytes += got;
    parse(c, buffer, c->carried + got, now(CLOCK_REALTIME));
}

static void report(void) {
    double seconds = now(CLOCK_MONOTONIC) - started_at;
    unsigned long least = ~0ul, most = 0;
    for (int i = 0; i < count; i++)
        if (clients[i].state == 2) {
            if (clients[i].frames < least) least = clients[i].frames;
            if (clients[i].frames > most) most = clients[i].frames;
        }
    printf("{\"seconds\": %.4f, \"frames\": %lu, \"messages\": %lu, \"bytes\": %llu, ", seconds, frames, messages, bytes);
    printf("\"streams\": %d, \"closed\": %d, \"fewest_frames\": %lu, \"most_frames\": %lu, ",
           with_frame - closed, closed, least > most ? 0 : least, most);
    printf("\"client_cpu_percent\": %.1f, ", 100 * (cpu() - cpu_at) / seconds);
    print_histogram("age_ms", &ages);
    printf(", ");
    print_histogram("write_ms", &writes);
    printf("}\n");
    fflush(stdout);
}

static void say_ready(void) {
    histogram first = {0};
    for (int i = 0; i < count; i++)
        if (clients[i].has_frame) add(&first, clients[i].first);
    printf("{\"streams\": %d, \"failed\": %d, \"refused\": %d, \"seconds\": %.3f, ", with_frame - closed, failed,
           refused, now(CLOCK_MONOTONIC) - began);
    print_histogram("first_frame_ms", &first);
    printf("}\n");
    fflush(stdout);
    is_ready = 1;
}

static void obey(void) {
    char line[64];
    if (!fgets(line, sizeof line, stdin)) exit(0);
    if (!strncmp(line, "start", 5)) {
        frames = messages = 0;
        bytes = 0;
        memset(&ages, 0, sizeof ages);
        memset(&writes, 0, sizeof writes);
        for (int i = 0; i < count; i++) clients[i].frames = 0;
        started_at = now(CLOCK_MONOTONIC);
        cpu_at = cpu();
        counting = 1;
    } else if (!strncmp(line, "stop", 4)) {
        counting = 0;
        report();
    }
}

int main(int argc, char **argv) {
    struct epoll_event events[512], event = {.events = EPOLLIN, .data.ptr = NULL};
    struct rlimit limit;
    if (argc != 7 && argc != 8) return 2;
    if (argc == 8 && !(headers = fopen(argv[7], "r"))) return 2;
    count = atoi(argv[4]);
    in_flight_max = atoi(argv[5]);
    sources = atoi(argv[6]);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    target.sin_family = AF_INET;
    target.sin_port = htons(atoi(argv[2]));
    inet_pton(AF_INET, argv[1], &target.sin_addr);
    request_size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: %s:%s\r\nAccept: text/event-stream\r\n",
                            argv[3], argv[1], argv[2]);
    setvbuf(stdin, NULL, _IONBF, 0);
    clients = calloc(count, sizeof *clients);
    buffer = malloc(BUFFER + CARRY_MAX);
    epoll_fd = epoll_create1(0);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &event);
    began = now(CLOCK_MONOTONIC);
    for (;;) {
        while (opened < count && in_flight < in_flight_max) {
            open_one(&clients[opened], opened);
            opened++;
        }
        int n = epoll_wait(epoll_fd, events, 512, 100);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) on_event(events[i].data.ptr, events[i].events);
            else obey();
        }
        if (!is_ready && ((opened == count && with_frame + failed >= count) || now(CLOCK_MONOTONIC) - began > PATIENCE))
            say_ready();
    }
}
