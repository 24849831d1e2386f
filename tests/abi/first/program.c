/* A program of the first release of ABI 1: it knows that header only, with its smaller structs, and
 * must work with today's library. Prints the addresses of a pick and of its retry, each "ADDRESS
 * epoch ok". Usage: program DIRECTORY SERVICE KEY. first_release_test.cpp runs it. */
#include "tests/abi/first/ballast.h"

#include <stdio.h>
#include <string.h>

static int pick_and_print(ballast_t* balancer, ballast_service_t service, const char* key,
                          const ballast_pick_options_t* options, ballast_pick_t* pick) {
  ballast_status_t status = ballast_pick(balancer, service, key, strlen(key), options, pick);
  if (status != BALLAST_OK) return printf("pick: %s\n", ballast_status_text(status)), 0;
  char address[BALLAST_ADDRESS_TEXT];
  ballast_format_address(pick, address, sizeof address);
  puts(address);
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  ballast_options_t options = BALLAST_OPTIONS_INIT;
  options.directory = argv[1];
  ballast_t* balancer;
  ballast_service_t service;
  if (ballast_abi() != BALLAST_ABI) return puts("another ABI"), 1;
  if (ballast_attach(&options, &balancer) != BALLAST_OK) return puts(ballast_last_error()), 1;
  if (ballast_find_service(balancer, argv[2], &service) != BALLAST_OK) return puts("no service"), 1;
  ballast_info_t info = BALLAST_INFO_INIT;
  if (ballast_info(balancer, &info) != BALLAST_OK || info.row == BALLAST_NO_ROW)
    return puts("no row"), 1;

  /* Between two guards, so that a library that writes as much as it knows itself is seen. */
  struct {
    unsigned char before[32];
    ballast_pick_t pick;
    unsigned char after[32];
  } first, second;
  memset(&first, 0xa5, sizeof first);
  memset(&second, 0xa5, sizeof second);
  first.pick = (ballast_pick_t)BALLAST_PICK_INIT;
  second.pick = (ballast_pick_t)BALLAST_PICK_INIT;
  const ballast_pick_t* tried[] = {&first.pick};
  struct {
    ballast_pick_options_t options;
    unsigned char after[32]; /* not zero: a library that reads on would see fields */
  } retry;
  memset(&retry, 0xa5, sizeof retry);
  retry.options = (ballast_pick_options_t)BALLAST_PICK_OPTIONS_INIT;
  retry.options.tried = tried;
  retry.options.tried_count = 1;
  if (!pick_and_print(balancer, service, argv[3], NULL, &first.pick)) return 1;
  if (!pick_and_print(balancer, service, argv[3], &retry.options, &second.pick)) return 1;
  if (ballast_report(balancer, &first.pick, BALLAST_CONNECT_FAILURE, BALLAST_NO_LATENCY) !=
          BALLAST_OK ||
      ballast_report(balancer, &second.pick, BALLAST_SUCCESS, 250) != BALLAST_OK)
    return puts("not reported"), 1;
  for (size_t i = 0; i < sizeof first.after; ++i) {
    if (first.before[i] != 0xa5 || first.after[i] != 0xa5 || second.before[i] != 0xa5 ||
        second.after[i] != 0xa5)
      return puts("written beyond the struct"), 1;
  }
  ballast_detach(balancer);
  return 0;
}
