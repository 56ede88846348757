import java.net.Socket;
import java.security.Security;

/** Opens new connections by name, and prints whom each one reached. */
public class Client {
    public static void main(String[] args) throws Exception {
        // Java remembers an answer for 30 s, whatever its TTL says. Programs
        // that balance by name set this, here or in java.security.
        Security.setProperty("networkaddress.cache.ttl", "0");
        for (int i = Integer.parseInt(args[2]); i > 0; i--) {
            try (Socket socket = new Socket(args[0], Integer.parseInt(args[1]))) {
                System.out.println(socket.getInetAddress().getHostAddress());
            }
        }
    }
}
