// Go's S3 clients as a client of the end-to-end suite: one line of tab-separated words in, one line
// out, as client_driver.py describes. A reply starts with ok or failed.
//
// The argument names the client: sdk is AWS's SDK with its transfer manager, sdk-manager the same
// with the previous manager, minio is MinIO's. Everything else has the library's defaults.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"strings"
)

const partBytes = 5 * 1024 * 1024

// A command takes the words after its name and returns the words after ok.
type command func(ctx context.Context, words []string) ([]string, error)

// An action replies with ok alone.
func action(run func(ctx context.Context, words []string) error) command {
	return func(ctx context.Context, words []string) ([]string, error) {
		return nil, run(ctx, words)
	}
}

func main() {
	commands, err := client(context.Background(), strings.Join(os.Args[1:], " "))
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Split(lines.Text(), "\t")
		fmt.Println(strings.Join(answer(commands, words), "\t"))
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}

func client(ctx context.Context, name string) (map[string]command, error) {
	switch name {
	case "sdk":
		return sdk(ctx, withTransferManager)
	case "sdk-manager":
		return sdk(ctx, withManager)
	case "minio":
		return minioCommands()
	default:
		return nil, fmt.Errorf("%q is no client: give sdk, sdk-manager or minio", name)
	}
}

func answer(commands map[string]command, words []string) []string {
	run, known := commands[words[0]]
	if !known {
		return []string{"failed", "this client knows no command " + words[0]}
	}
	result, err := run(context.Background(), words[1:])
	if err != nil {
		log.Printf("%s: %v", words[0], err)
		return []string{"failed", strings.Join(strings.Fields(err.Error()), " ")}
	}
	return append([]string{"ok"}, result...)
}
