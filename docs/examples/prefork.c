/* A prefork server, in C: a parent that forks workers and replaces those that die, and workers that
 * accept, ask an instance of a service for each request, and try another one if it cannot be
 * reached. Everybody sees the same health, and a worker that is killed leaves nothing in flight.
 * Usage: prefork DIRECTORY SERVICE PORT WORKERS; then curl http://127.0.0.1:PORT/any/key */
#include <arpa/inet.h>
#include <ballast.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRIES 3

#define MAX_WORKERS 64

static volatile sig_atomic_t stopping = 0;
static void stop(int signal_number) {
  (void)signal_number;
  stopping = 1;
}

static uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* One request to the instance of a pick; how it went is what is reported. */
static ballast_outcome_t ask_instance(const ballast_pick_t* pick) {
  struct sockaddr_storage address;
  socklen_t length;
  if (ballast_pick_sockaddr(pick, &address, &length) != BALLAST_OK) return BALLAST_CONNECT_FAILURE;
  int fd = socket(address.ss_family, SOCK_STREAM, 0);
  struct timeval patience = {.tv_sec = 2, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* connect(2), too */
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ballast_outcome_t outcome = BALLAST_SUCCESS;
  static const char request[] = "GET / HTTP/1.1\r\nHost: backend\r\nConnection: close\r\n\r\n";
  char answer[1024];
  if (connect(fd, (struct sockaddr*)&address, length) != 0) {
    outcome = errno == EINPROGRESS ? BALLAST_TIMEOUT : BALLAST_CONNECT_FAILURE;
  } else if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0) {
    outcome = BALLAST_RESET;
  } else {
    ssize_t got = recv(fd, answer, sizeof answer - 1, 0);
    answer[got > 0 ? got : 0] = '\0';
    if (got < 0 && errno == EAGAIN)
      outcome = BALLAST_TIMEOUT;
    else if (got <= 0)
      outcome = BALLAST_RESET;
    else if (strncmp(answer, "HTTP/1.1 2", 10) != 0)
      outcome = strncmp(answer, "HTTP/1.1 503", 12) == 0 ? BALLAST_OVERLOAD : BALLAST_SERVER_ERROR;
  }
  close(fd);
  return outcome;
}

/* Asks one instance after another until one answers; writes which one, or what is wrong. */
static int handle(ballast_t* balancer, ballast_service_t service, const char* key, char* text,
                  size_t size) {
  ballast_pick_t picks[TRIES];
  const ballast_pick_t* tried[TRIES];
  for (size_t i = 0; i < TRIES; ++i) {
    ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
    options.tried_count = i;
    options.tried = tried;
    picks[i] = (ballast_pick_t)BALLAST_PICK_INIT;
    tried[i] = &picks[i];
    ballast_status_t status =
        ballast_pick(balancer, service, key, strlen(key), &options, &picks[i]);
    if (status != BALLAST_OK) return snprintf(text, size, "%s", ballast_status_text(status)), 503;
    uint64_t begin = now_us();
    ballast_outcome_t outcome = ask_instance(&picks[i]);
    ballast_report(balancer, &picks[i], outcome, now_us() - begin);
    ballast_format_address(&picks[i], text, size);
    if (outcome == BALLAST_SUCCESS) return 200;
  }
  return 502;
}

static int worker(const char* directory, const char* name, int listener) {
  ballast_options_t options = BALLAST_OPTIONS_INIT;
  options.directory = directory;
  ballast_t* balancer;
  ballast_service_t service;
  if (ballast_attach(&options, &balancer) != BALLAST_OK) {
    fprintf(stderr, "%s\n", ballast_last_error());
    return 1;
  }
  ballast_find_service(balancer, name, &service); /* one that is not there yet is found later */
  sigset_t none;
  sigemptyset(&none);
  while (!stopping) {
    struct pollfd wanted = {.fd = listener, .events = POLLIN};
    if (ppoll(&wanted, 1, NULL, &none) != 1) continue; /* told to stop only between requests */
    int client = accept(listener, NULL, NULL);
    if (client < 0) continue; /* another worker was quicker */
    struct timeval patience = {.tv_sec = 2, .tv_usec = 0};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char request[2048], key[256] = "", text[256] = "", answer[512];
    ssize_t got = recv(client, request, sizeof request - 1, 0);
    request[got > 0 ? got : 0] = '\0';
    if (sscanf(request, "GET %255s", key) == 1) {
      int status = handle(balancer, service, key, text, sizeof text);
      int length =
          snprintf(answer, sizeof answer, "HTTP/1.0 %d %s\r\nContent-Length: %zu\r\n\r\n%s", status,
                   status == 200 ? "OK" : "Failed", strlen(text), text);
      send(client, answer, (size_t)length, MSG_NOSIGNAL);
    }
    close(client);
  }
  ballast_detach(balancer);
  return 0;
}

int main(int argc, char** argv) {
  int wanted = argc == 5 ? atoi(argv[4]) : 0;
  if (wanted < 1 || wanted > MAX_WORKERS) return 2;
  struct sigaction action = {.sa_handler = stop};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  sigset_t signals; /* waited for here, and by the workers, where nothing can be missed */
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals, NULL);

  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, (struct sockaddr*)&here, sizeof here) != 0 || listen(listener, 1024) != 0)
    return perror("listen"), 1;

  pid_t workers[MAX_WORKERS] = {0};
  while (!stopping) {
    for (int i = 0; i < wanted; ++i) {
      if (workers[i] != 0) continue;
      workers[i] = fork();
      if (workers[i] == 0) return worker(argv[1], argv[2], listener);
      if (workers[i] < 0) return perror("fork"), 1;
    }
    if (sigwaitinfo(&signals, NULL) != SIGCHLD) break;
    for (pid_t dead; (dead = waitpid(-1, NULL, WNOHANG)) > 0;) {
      for (int i = 0; i < wanted; ++i)
        if (workers[i] == dead) workers[i] = 0; /* to be replaced */
    }
  }
  for (int i = 0; i < wanted; ++i)
    if (workers[i] > 0) kill(workers[i], SIGTERM);
  while (waitpid(-1, NULL, 0) > 0)
    continue;
  return 0;
}
