/* Picks an instance for a key, in C. Usage: pick DIRECTORY SERVICE KEY */
#include <ballast.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  ballast_options_t options = BALLAST_OPTIONS_INIT;
  options.directory = argv[1];
  ballast_t* balancer;
  ballast_service_t service;
  ballast_pick_t pick = BALLAST_PICK_INIT;
  if (ballast_attach(&options, &balancer) != BALLAST_OK) return puts(ballast_last_error()), 1;
  ballast_find_service(balancer, argv[2], &service);
  ballast_status_t status = ballast_pick(balancer, service, argv[3], strlen(argv[3]), NULL, &pick);
  if (status == BALLAST_OK) {
    char address[BALLAST_ADDRESS_TEXT];
    ballast_format_address(&pick, address, sizeof address);
    puts(address); /* ... here the request would be sent ... */
    ballast_report(balancer, &pick, BALLAST_SUCCESS, BALLAST_NO_LATENCY);
  } else {
    puts(ballast_status_text(status));
  }
  ballast_detach(balancer);
  return status == BALLAST_OK ? 0 : 1;
}
