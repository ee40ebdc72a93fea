// Load client with little overhead, so that the server is measured: one thread, epoll, and bodies
// that the kernel discards.
//
//     load [-c CONNECTIONS] [-n REQUESTS | -d SECONDS] [-k] [-t TIMEOUT] ADDRESS:PORT TARGET
//
// Sends GET requests for TARGET, with `@` replaced by the number of the request; -k enables
// keep-alive. Prints one JSON object: counts, body bytes, seconds, and percentiles of the first and
// last byte.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 8192, MAX_SAMPLES = 2000000, EVENTS = 128, DRAIN_BYTES = 1 << 20, READS = 4 };

struct connection {
    int fd;
    bool in_body, is_last; // the server closes after `is_last`
    int status;
    long long length; // -1: until the server closes
    long long body;
    double started, first_byte;
    size_t head_bytes;
    char head[HEAD_BYTES];
};

static struct sockaddr_in server;
static const char *host, *target;
static bool keep_alive;
static int epoll;
static long long wanted = 1, begun, finished, whole, body_bytes;
static long long connect_errors, broken, bad_status, last_bad_status;
static double deadline, until; // `until` is 0 if -n gives a number of requests
static float *first_bytes, *ends;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool more(void) { return until > 0 ? now() < until : begun < wanted; }

static bool send_request(struct connection *connection) {
    char request[HEAD_BYTES];
    const char *at = strchr(target, '@');
    int before = at ? (int)(at - target) : (int)strlen(target);
    char number[24] = "";
    if (at) snprintf(number, sizeof number, "%lld", begun);
    const char *form = "GET %.*s%s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\n%s\r\n";
    int size = snprintf(request, sizeof request, form, before, target, number, at ? at + 1 : "", host,
                        keep_alive ? "" : "Connection: close\r\n");
    begun++;
    connection->started = now();
    connection->first_byte = 0;
    connection->in_body = connection->is_last = false;
    connection->head_bytes = 0;
    connection->body = 0;
    connection->length = -1;
    return send(connection->fd, request, (size_t)size, MSG_NOSIGNAL) == size;
}

static bool open_connection(struct connection *connection) {
    int one = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    // connect blocks, but returns at once on loopback. Later, the socket is only read when ready.
    if (connection->fd < 0 || connect(connection->fd, (void *)&server, sizeof server) != 0) {
        if (connection->fd >= 0) close(connection->fd);
        connect_errors++;
        begun++;
        return false;
    }
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event);
    return send_request(connection);
}

static void read_head(struct connection *connection, char *end) {
    connection->in_body = true;
    connection->status = atoi(connection->head + 9);
    for (char *line = strstr(connection->head, "\r\n"); line && line < end; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, "content-length:", 15) == 0) connection->length = atoll(line + 17);
        else if (strncasecmp(line + 2, "connection: close", 17) == 0) connection->is_last = true;
    connection->body = connection->head + connection->head_bytes - (end + 4);
}

// Reads available bytes, with a bound so that other connections do not wait long. Returns 0 if more
// bytes are expected, 1 at the end of a complete response, -1 if the response was truncated.
static int receive(struct connection *connection) {
    for (int reads = 0; reads < READS; reads++) {
        ssize_t size;
        if (connection->in_body) {
            size = recv(connection->fd, NULL, DRAIN_BYTES, MSG_TRUNC | MSG_DONTWAIT);
        } else {
            size_t free_bytes = HEAD_BYTES - 1 - connection->head_bytes;
            size = recv(connection->fd, connection->head + connection->head_bytes, free_bytes, MSG_DONTWAIT);
        }
        if (size < 0) return errno == EAGAIN ? 0 : -1;
        if (size == 0) return connection->in_body && connection->length < 0 ? 1 : -1;
        if (connection->in_body) {
            connection->body += size;
        } else {
            if (connection->first_byte == 0) connection->first_byte = now();
            connection->head_bytes += (size_t)size;
            connection->head[connection->head_bytes] = 0;
            char *end = strstr(connection->head, "\r\n\r\n");
            if (end) read_head(connection, end);
            else if (connection->head_bytes == HEAD_BYTES - 1) return -1;
        }
        if (connection->in_body && connection->length >= 0 && connection->body >= connection->length)
            return connection->body == connection->length ? 1 : -1;
    }
    return 0;
}

static int by_size(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static double percentile(float *samples, double share) {
    long long count = whole < MAX_SAMPLES ? whole : MAX_SAMPLES;
    if (count == 0) return 0;
    return samples[(long long)(share * (double)(count - 1) + 0.5)];
}

int main(int count, char **arguments) {
    int option, connections = 1;
    double seconds = 0, timeout = 60;
    while ((option = getopt(count, arguments, "c:n:d:kt:")) != -1) switch (option) {
        case 'c': connections = atoi(optarg); break;
        case 'n': wanted = atoll(optarg); break;
        case 'd': seconds = atof(optarg); break;
        case 'k': keep_alive = true; break;
        case 't': timeout = atof(optarg); break;
        default: return 2;
        }
    if (count - optind != 2) return 2;
    host = arguments[optind];
    target = arguments[optind + 1];
    char address[64];
    int port;
    if (sscanf(host, "%63[^:]:%d", address, &port) != 2) return 2;
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    if (inet_pton(AF_INET, address, &server.sin_addr) != 1) return 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    epoll = epoll_create1(0);
    struct connection *all = calloc((size_t)connections, sizeof *all);
    first_bytes = malloc(MAX_SAMPLES * sizeof *first_bytes);
    ends = malloc(MAX_SAMPLES * sizeof *ends);
    if (!all || !first_bytes || !ends) return 1;
    double started = now();
    deadline = started + timeout;
    if (seconds > 0) until = started + seconds;
    int live = 0;
    for (int i = 0; i < connections && more(); i++) {
        if (open_connection(&all[i])) live++;
        else if (connect_errors > 100) break;
    }

    struct epoll_event events[EVENTS];
    while (live > 0 && now() < deadline) {
        int ready = epoll_wait(epoll, events, EVENTS, 100);
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            int result = receive(connection);
            if (result == 0) continue;
            finished++;
            body_bytes += connection->body;
            bool good = result > 0 && connection->status >= 200 && connection->status < 400;
            if (good) {
                if (whole < MAX_SAMPLES) {
                    first_bytes[whole] = (float)(connection->first_byte - connection->started);
                    ends[whole] = (float)(now() - connection->started);
                }
                whole++;
            } else if (result > 0) {
                bad_status++;
                last_bad_status = connection->status;
            } else {
                broken++;
            }
            if (keep_alive && !connection->is_last && result > 0 && more() && send_request(connection)) continue;
            close(connection->fd);
            if (!more() || !open_connection(connection)) live--;
        }
    }
    double elapsed = now() - started;
    long long samples = whole < MAX_SAMPLES ? whole : MAX_SAMPLES;
    qsort(first_bytes, (size_t)samples, sizeof *first_bytes, by_size);
    qsort(ends, (size_t)samples, sizeof *ends, by_size);
    printf("{\"requests\": %lld, \"whole\": %lld, \"body_bytes\": %lld, \"seconds\": %.6f, \"connect_errors\": %lld, "
           "\"broken\": %lld, \"bad_status\": %lld, \"last_bad_status\": %lld, \"unfinished\": %lld, "
           "\"first_p50\": %.6f, \"first_p99\": %.6f, \"first_max\": %.6f, \"end_p50\": %.6f, \"end_p99\": %.6f, "
           "\"end_max\": %.6f}\n",
           begun, whole, body_bytes, elapsed, connect_errors, broken, bad_status, last_bad_status,
           begun - finished - connect_errors, percentile(first_bytes, 0.5), percentile(first_bytes, 0.99),
           percentile(first_bytes, 1), percentile(ends, 0.5), percentile(ends, 0.99), percentile(ends, 1));
    return 0;
}
