// How a Spring Boot API accepts access tokens whose header says `typ: at+jwt` (RFC 9068): Spring Security refuses them
// unless it is told to expect them. application.yaml names the issuer and the audience of this API:
//
//   spring.security.oauth2.resourceserver.jwt:
//     issuer-uri: https://postern.postern-system.svc
//     audiences: https://billing.example.com
package com.example.billing;

import java.util.Objects;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.security.oauth2.jwt.JwtClaimValidator;
import org.springframework.security.oauth2.jwt.JwtDecoder;
import org.springframework.security.oauth2.jwt.JwtValidators;
import org.springframework.security.oauth2.jwt.NimbusJwtDecoder;

@Configuration
public class AccessTokens {
    @Bean
    JwtDecoder jwtDecoder(
            @Value("${spring.security.oauth2.resourceserver.jwt.issuer-uri}") String issuer,
            @Value("${spring.security.oauth2.resourceserver.jwt.audiences}") String audience) {
        NimbusJwtDecoder decoder = NimbusJwtDecoder.withIssuerLocation(issuer).validateType(false).build();
        decoder.setJwtValidator(JwtValidators.createAtJwtValidator()
                .issuer(issuer)
                .audience(audience)
                // Any client. Authorize by scopes and roles.
                .validators(all -> all.put("client_id", new JwtClaimValidator<String>("client_id", Objects::nonNull)))
                .build());
        return decoder;
    }
}
