// A Spring Boot application that is a client and an API. A delivered Secret, mounted as a service binding, and the
// issuer configure it. It requests a token and calls its own API with it: once with the default token verification of
// Spring Security, and once with the bean of examples/resource-servers/AccessTokens.java. Arguments: the name of the
// binding, and the audience that the API expects. Prints one JSON object: status and body of both calls.

import com.example.billing.AccessTokens;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.LinkedHashMap;
import java.util.Map;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.annotation.AuthenticationPrincipal;
import org.springframework.security.oauth2.client.AuthorizedClientServiceOAuth2AuthorizedClientManager;
import org.springframework.security.oauth2.client.OAuth2AuthorizeRequest;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClientService;
import org.springframework.security.oauth2.client.registration.ClientRegistrationRepository;
import org.springframework.security.oauth2.jwt.Jwt;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import tools.jackson.databind.json.JsonMapper;

public class SpringBoot {
    public static void main(String[] arguments) throws Exception {
        Map<String, Object> results = new LinkedHashMap<>();
        results.put("default", call(ByDefault.class, arguments[0], arguments[1]));
        results.put("recipe", call(WithRecipe.class, arguments[0], arguments[1]));
        System.out.println(JsonMapper.shared().writeValueAsString(results));
    }

    static Map<String, Object> call(Class<?> application, String binding, String audience) throws Exception {
        SpringApplicationBuilder builder = new SpringApplicationBuilder(application).properties(
                "server.port=0",
                "server.address=127.0.0.1",
                "spring.main.banner-mode=off",
                "logging.level.root=off",
                "spring.security.oauth2.resourceserver.jwt.issuer-uri=" + System.getenv("ISSUER_URI"),
                "spring.security.oauth2.resourceserver.jwt.audiences=" + audience);
        try (ConfigurableApplicationContext context = builder.run()) {
            String token = token(context, binding);
            URI api = URI.create("http://127.0.0.1:" + context.getEnvironment().getProperty("local.server.port") + "/");
            HttpRequest request = HttpRequest.newBuilder(api).header("Authorization", "Bearer " + token).build();
            HttpResponse<String> response =
                    HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
            return Map.of("status", response.statusCode(), "body", response.body(),
                    "challenge", response.headers().firstValue("WWW-Authenticate").orElse(""));
        }
    }

    static String token(ConfigurableApplicationContext context, String binding) {
        var clients = new AuthorizedClientServiceOAuth2AuthorizedClientManager(
                context.getBean(ClientRegistrationRepository.class),
                context.getBean(OAuth2AuthorizedClientService.class));
        var request = OAuth2AuthorizeRequest.withClientRegistrationId(binding).principal("test").build();
        return clients.authorize(request).getAccessToken().getTokenValue();
    }

    @Configuration
    @EnableAutoConfiguration
    @Import(Api.class)
    static class ByDefault {}

    @Configuration
    @EnableAutoConfiguration
    @Import({Api.class, AccessTokens.class})
    static class WithRecipe {}

    @RestController
    static class Api {
        /** An application that is a client too has to say that requests carry tokens. */
        @Bean
        SecurityFilterChain tokens(HttpSecurity http) throws Exception {
            http.authorizeHttpRequests(requests -> requests.anyRequest().authenticated());
            return http.oauth2ResourceServer(server -> server.jwt(Customizer.withDefaults())).build();
        }

        @GetMapping("/")
        Map<String, Object> claims(@AuthenticationPrincipal Jwt token) {
            return token.getClaims();
        }
    }
}
