package s3proxy.e2e;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Carries out commands for the suite: a line of tab-separated words in, a line of the same kind out.
 *
 * <p>An answer starts with {@code ok} or {@code failed}; what a client library prints goes to
 * standard error. One process takes many commands, because a virtual machine starts slowly. The
 * commands are described in {@code client_driver.py}; a client has those that it registers.
 */
public final class Driver {
  /** One command: the words behind its name in, the words behind {@code ok} out. */
  @FunctionalInterface
  public interface Command {
    List<String> run(List<String> words) throws Exception;
  }

  /** A command that answers with nothing but {@code ok}. */
  @FunctionalInterface
  public interface Action {
    void run(List<String> words) throws Exception;
  }

  public static final long PART_BYTES = 5L * 1024 * 1024;

  private final Map<String, Command> commands = new HashMap<>();

  public Driver on(String name, Command command) {
    commands.put(name, command);
    return this;
  }

  public Driver perform(String name, Action action) {
    return on(
        name,
        words -> {
          action.run(words);
          return List.of();
        });
  }

  /** Answers until standard input ends. */
  public void serve() throws IOException {
    PrintStream answers = System.out;
    System.setOut(System.err);
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      List<String> words = Arrays.asList(line.split("\t", -1));
      answers.write((answer(words) + "\n").getBytes(StandardCharsets.UTF_8));
      answers.flush();
    }
  }

  private String answer(List<String> words) {
    Command command = commands.get(words.get(0));
    if (command == null) {
      return "failed\tthis client knows no command " + words.get(0);
    }
    try {
      List<String> result = command.run(words.subList(1, words.size()));
      return result.isEmpty() ? "ok" : "ok\t" + String.join("\t", result);
    } catch (Exception | LinkageError error) {
      error.printStackTrace();
      return "failed\t" + error.toString().replaceAll("\\s+", " ");
    }
  }

  /** A variable of the environment that has to be there. */
  public static String variable(String name) {
    String value = System.getenv(name);
    if (value == null) {
      throw new IllegalStateException(name + " is not set");
    }
    return value;
  }
}
